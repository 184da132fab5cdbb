"""What is sent to other servers: each event once and in order, whatever breaks in between."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web
from federation.network import FakeServer, FederatedServer, Network, Received, caught_up, eventually
from server_kit import User
from sqlalchemy import Connection, func, select

from homeserver.protocol.event_builder import EventDraft
from homeserver.storage.tables.destinations import outbound_events

BOB = "@bob:beta.test"


async def room_with_beta(network: Network, **sections: Any) -> tuple[FederatedServer, FakeServer, User, str]:
    """A room of alice's on alpha.test that a user of the played server beta.test has joined."""
    beta = await network.add_fake("beta.test")
    alpha = await network.add("alpha.test", **sections)
    alice = await alpha.user("alice")
    room_id = await alice.create_room(preset="public_chat")
    await alpha.let_in(room_id, BOB)
    return alpha, beta, alice, room_id


def bodies(beta: FakeServer) -> list[str]:
    return [pdu["content"]["body"] for pdu in beta.pdus if pdu["type"] == "m.room.message"]


def count_outbound(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(outbound_events)).scalar_one()


async def upload_keys(user: User) -> None:
    keys = {
        "user_id": user.user_id,
        "device_id": user.device_id,
        "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": {f"ed25519:{user.device_id}": "c29tZSBrZXk", f"curve25519:{user.device_id}": "c29tZSBrZXk"},
        "signatures": {user.user_id: {f"ed25519:{user.device_id}": "c2lnbmF0dXJl"}},
    }
    await user.call("POST", "/keys/upload", {"device_keys": keys})


async def test_messages_go_to_the_servers_in_the_room(network: Network) -> None:
    gamma = await network.add_fake("gamma.test")
    _, beta, alice, room_id = await room_with_beta(network)
    await alice.say(room_id, "hello")
    await beta.wait_until(lambda: bodies(beta) == ["hello"])
    [transaction] = [one for one in beta.received if one.body["pdus"]]
    assert transaction.body["origin"] == "alpha.test"
    assert isinstance(transaction.body["origin_server_ts"], int)
    assert "unsigned" not in transaction.body["pdus"][0]
    assert gamma.received == []
    # The events before the join were none of beta's business, and bob's own join came from there.
    assert [pdu["type"] for pdu in beta.pdus] == ["m.room.message"]


async def test_the_events_are_signed_and_the_request_is(network: Network) -> None:
    _, beta, alice, room_id = await room_with_beta(network)
    await alice.say(room_id, "hello")
    await beta.wait_until(lambda: beta.pdus)
    assert "alpha.test" in beta.pdus[0]["signatures"]
    headers = [one for one in beta.authorizations if one]
    assert headers
    assert headers[0].startswith('X-Matrix origin="alpha.test",destination="beta.test",key="ed25519:')


async def test_a_kicked_users_server_hears_of_it_and_then_nothing(network: Network) -> None:
    _, beta, alice, room_id = await room_with_beta(network)
    await alice.call("POST", f"/rooms/{room_id.replace('!', '%21')}/kick", {"user_id": BOB})
    await alice.say(room_id, "behind their back")
    await beta.wait_until(lambda: beta.pdus)
    await eventually(lambda: caught_up(network.servers["alpha.test"]))
    assert [pdu["content"].get("membership") for pdu in beta.pdus] == ["leave"]


async def test_the_servers_are_those_of_the_event_even_if_it_is_read_late(network: Network) -> None:
    alpha, _, alice, room_id = await room_with_beta(network)
    during = await alice.say(room_id, "while bob was here")
    leaving = await alpha.let_in(room_id, BOB, "leave")
    after = await alice.say(room_id, "after bob left")
    stored = await alpha.homeserver.rooms.events.get_many([during, leaving, after])
    servers = {name: await alpha.federation.room_servers.at_event(stored[name]) for name in stored}
    assert servers[during] == servers[leaving] == {"alpha.test", "beta.test"}
    assert servers[after] == {"alpha.test"}


async def test_an_outage_loses_nothing_and_keeps_the_order(network: Network) -> None:
    alpha, beta, alice, room_id = await room_with_beta(network)
    await alice.say(room_id, "0")
    await beta.wait_until(lambda: bodies(beta) == ["0"])
    await beta.hang_up()
    for number in range(1, 120):
        await alice.say(room_id, str(number))
    await eventually(lambda: alpha.federation.back_off.failing_since_ms("beta.test") is not None)
    await beta.listen()
    await beta.wait_until(lambda: len(bodies(beta)) == 120)
    assert bodies(beta) == [str(number) for number in range(120)]
    assert all(len(one.body["pdus"]) <= 50 for one in beta.received)
    await eventually(lambda: alpha.federation.back_off.failing_since_ms("beta.test") is None)


async def test_a_refused_transaction_is_repeated_under_the_same_id(network: Network) -> None:
    _, beta, alice, room_id = await room_with_beta(network)

    def refuse_twice(received: Received) -> web.Response:
        if len(beta.received) < 2:
            return web.json_response({"errcode": "M_UNKNOWN", "error": "not now"}, status=500)
        return web.json_response({"pdus": {}})

    beta.answer = refuse_twice
    await alice.say(room_id, "one")
    await beta.wait_until(lambda: beta.received)
    await alice.say(room_id, "two")
    await beta.wait_until(lambda: "two" in bodies(beta))
    first, second, third, *rest = beta.received
    assert first == second == third
    assert {one.transaction_id for one in rest}.isdisjoint({first.transaction_id})
    assert bodies(beta) == ["one", "one", "one", "two"]


async def test_a_restart_between_send_and_acknowledgement_repeats_the_same_transaction(network: Network) -> None:
    alpha, beta, alice, room_id = await room_with_beta(network)
    beta.answer = lambda _: web.json_response({"errcode": "M_UNKNOWN", "error": "not now"}, status=502)
    await alice.say(room_id, "before the restart")
    await beta.wait_until(lambda: beta.received)
    sent = beta.received[0]
    alpha = await network.restart("alpha.test")
    beta.received.clear()
    beta.answer = lambda _: web.json_response({"pdus": {}})
    alice = await alpha.user("alice")
    await alice.say(room_id, "after the restart")
    await beta.wait_until(lambda: len(bodies(beta)) == 2)
    assert beta.received[0] == sent
    assert bodies(beta) == ["before the restart", "after the restart"]
    assert beta.received[1].transaction_id != sent.transaction_id


async def test_what_was_stored_before_a_restart_is_sent_without_further_news(network: Network) -> None:
    alpha, beta, alice, room_id = await room_with_beta(network)
    await beta.hang_up()
    await alice.say(room_id, "into the void")
    await eventually(lambda: alpha.federation.back_off.failing_since_ms("beta.test") is not None)
    await network.servers.pop("alpha.test").stop()
    await beta.listen()
    await network.add("alpha.test")
    await beta.wait_until(lambda: bodies(beta) == ["into the void"])


async def test_contact_ends_the_pause(network: Network) -> None:
    alpha, beta, alice, room_id = await room_with_beta(
        network, federation={"retry_at_first": "1h", "retry_at_most": "1d"}
    )
    await beta.hang_up()
    await alice.say(room_id, "are you there?")
    await eventually(lambda: alpha.federation.back_off.is_paused("beta.test"))
    await beta.listen()
    status, _ = await beta.ask(alpha, "GET", "/_matrix/federation/v1/query/profile?user_id=%40alice%3Aalpha.test")
    assert status == 200
    await beta.wait_until(lambda: bodies(beta) == ["are you there?"])


async def test_after_a_long_outage_only_the_newest_event_of_each_room_is_sent(
    network: Network, monkeypatch: Any
) -> None:
    monkeypatch.setattr("homeserver.storage.outbound_transactions.CATCH_UP_FROM", 60)
    alpha, beta, alice, room_id = await room_with_beta(network)
    other_room = await alice.create_room(preset="public_chat")
    await alpha.let_in(other_room, BOB)
    await eventually(lambda: caught_up(alpha))
    await beta.hang_up()
    await alice.say(room_id, "the first to fail")
    await eventually(lambda: alpha.federation.back_off.is_paused("beta.test"))
    for number in range(70):
        await alice.say(room_id, str(number))
    await alice.say(other_room, "elsewhere")
    await eventually(lambda: caught_up(alpha))
    network.discovery.places.pop("beta.test")
    beta_again = await network.add_fake("beta.test")
    await beta_again.wait_until(lambda: "elsewhere" in bodies(beta_again), 20)
    assert "69" in bodies(beta_again)
    assert len(bodies(beta_again)) < 60


async def test_an_event_of_another_server_is_relayed_where_that_was_noted(network: Network) -> None:
    gamma = await network.add_fake("gamma.test")
    alpha, beta, _, room_id = await room_with_beta(network)
    await alpha.let_in(room_id, "@carol:gamma.test")
    await eventually(lambda: caught_up(alpha))
    assert beta.pdus == []
    # A membership that came in through us; the note is made before the event is in the log.
    append, carol = alpha.homeserver.rooms.append, "@carol:gamma.test"
    draft = EventDraft(room_id, "m.room.member", carol, {"membership": "leave"}, state_key=carol)
    event = await append.build(await alpha.homeserver.rooms.rooms.get(room_id), draft)
    await alpha.federation.sender.relay_once_accepted(event.event_id)
    await append.append_built(room_id, event)
    await beta.wait_until(lambda: beta.pdus)
    assert beta.pdus[0]["state_key"] == "@carol:gamma.test"
    await eventually(lambda: caught_up(alpha))
    assert gamma.pdus == []


async def test_denied_servers_get_nothing(network: Network) -> None:
    alpha, beta, alice, room_id = await room_with_beta(network, federation={"deny": ["beta.test"]})
    await alice.say(room_id, "hello")
    await eventually(lambda: caught_up(alpha))
    assert beta.asked == []


async def test_typing_and_receipts(network: Network) -> None:
    _, beta, alice, room_id = await room_with_beta(network)
    event_id = await alice.say(room_id, "hello")
    quoted = room_id.replace("!", "%21")
    await alice.call("PUT", f"/rooms/{quoted}/typing/{alice.user_id}", {"typing": True, "timeout": 30000})
    await beta.wait_until(lambda: beta.edus("m.typing"))
    assert beta.edus("m.typing") == [{"room_id": room_id, "user_id": alice.user_id, "typing": True}]
    await alice.call("PUT", f"/rooms/{quoted}/typing/{alice.user_id}", {"typing": False})
    await beta.wait_until(lambda: len(beta.edus("m.typing")) == 2)
    await alice.read(room_id, event_id, "m.read.private")
    await alice.read(room_id, event_id)
    await beta.wait_until(lambda: beta.edus("m.receipt"))
    [receipt] = beta.edus("m.receipt")
    assert receipt[room_id]["m.read"][alice.user_id]["event_ids"] == [event_id]
    assert "m.read.private" not in orjson.dumps([one.body for one in beta.received]).decode()


async def test_presence_where_it_is_exchanged(network: Network) -> None:
    _, beta, alice, _ = await room_with_beta(network, presence={"enabled": True})
    await alice.call("PUT", f"/presence/{alice.user_id}/status", {"presence": "online", "status_msg": "here"})
    await beta.wait_until(lambda: beta.edus("m.presence"))
    [update] = beta.edus("m.presence")[0]["push"]
    assert (update["user_id"], update["presence"], update["status_msg"]) == (alice.user_id, "online", "here")


async def test_presence_stays_here_where_it_is_not_exchanged(network: Network) -> None:
    _, beta, alice, room_id = await room_with_beta(network, presence={"enabled": True, "federated": False})
    await alice.call("PUT", f"/presence/{alice.user_id}/status", {"presence": "online"})
    await alice.say(room_id, "hello")
    await beta.wait_until(lambda: beta.pdus)
    assert beta.edus("m.presence") == []


async def test_messages_to_devices_survive_an_outage_and_a_restart(network: Network) -> None:
    alpha, beta, alice, _ = await room_with_beta(network)
    await beta.hang_up()
    message = {"messages": {BOB: {"*": {"secret": 1}}}}
    await alice.call("PUT", "/sendToDevice/m.test/txn1", message)
    await alice.call("PUT", "/sendToDevice/m.test/txn1", message)
    await eventually(lambda: alpha.federation.back_off.failing_since_ms("beta.test") is not None)
    await network.servers.pop("alpha.test").stop()
    await beta.listen()
    alpha = await network.add("alpha.test")
    await beta.wait_until(lambda: beta.edus("m.direct_to_device"))
    alice = await alpha.user("alice")
    await alice.call("PUT", "/sendToDevice/m.test/txn2", message)
    await beta.wait_until(lambda: len(beta.edus("m.direct_to_device")) == 2)
    first, second = beta.edus("m.direct_to_device")
    assert first["sender"] == alice.user_id
    assert first["type"] == "m.test"
    assert first["messages"] == {BOB: {"*": {"secret": 1}}}
    assert first["message_id"] != second["message_id"]


async def test_device_lists_name_the_update_before(network: Network) -> None:
    alpha, beta, alice, _ = await room_with_beta(network)
    await eventually(lambda: caught_up(alpha))
    await upload_keys(alice)
    await beta.wait_until(lambda: "keys" in (beta.edus("m.device_list_update") or [{}])[-1])
    before = len(beta.edus("m.device_list_update"))
    await alice.call("PUT", f"/devices/{alice.device_id}", {"display_name": "a phone"})
    await beta.wait_until(lambda: len(beta.edus("m.device_list_update")) > before)
    first, second = beta.edus("m.device_list_update")[-2:]
    assert second["prev_id"] == [first["stream_id"]]
    assert second["stream_id"] > first["stream_id"]
    assert second["keys"]["device_id"] == alice.device_id
    assert "device_display_name" not in second


async def test_a_deleted_device_is_told(network: Network) -> None:
    _, beta, alice, _ = await room_with_beta(network)
    await upload_keys(alice)
    await beta.wait_until(lambda: beta.edus("m.device_list_update"))
    await alice.call("POST", "/logout", {})
    await beta.wait_until(lambda: any(update.get("deleted") for update in beta.edus("m.device_list_update")))
    assert "keys" not in beta.edus("m.device_list_update")[-1]


async def test_a_user_entering_a_room_is_introduced_to_its_servers(network: Network) -> None:
    alpha, beta, _, room_id = await room_with_beta(network)
    carol = await alpha.user("carol")
    await upload_keys(carol)
    await eventually(lambda: caught_up(alpha))
    assert beta.edus("m.device_list_update") == []
    await carol.join(room_id)
    await beta.wait_until(lambda: beta.edus("m.device_list_update"))
    update = beta.edus("m.device_list_update")[0]
    assert (update["user_id"], update["device_id"]) == (carol.user_id, carol.device_id)
    assert update["keys"]["user_id"] == carol.user_id


async def test_what_has_arrived_is_forgotten(network: Network) -> None:
    alpha, beta, alice, room_id = await room_with_beta(network)
    await alice.say(room_id, "hello")
    await beta.wait_until(lambda: bodies(beta))
    await beta.hang_up()
    await alice.say(room_id, "still to come")
    await eventually(lambda: alpha.federation.back_off.failing_since_ms("beta.test") is not None)
    await alpha.federation.sender.forget_old()
    assert await alpha.homeserver.database.read(count_outbound) == 1
    await beta.listen()
    await beta.wait_until(lambda: "still to come" in bodies(beta))
    await eventually(lambda: is_forgotten(alpha))


async def is_forgotten(alpha: FederatedServer) -> bool:
    await alpha.federation.sender.forget_old()
    return await alpha.homeserver.database.read(count_outbound) == 0
