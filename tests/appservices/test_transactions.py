"""What a service is sent: which events, in which order, once and only once, over failures and restarts."""

from __future__ import annotations

from pathlib import Path

import orjson
from appservices.bridge import AS_TOKEN, HS_TOKEN, SENDER, Bridge, Puppeteer, bridged_room
from server_kit import Server, running_server

from homeserver.storage.sqlite import SqliteDatabase
from homeserver.testing import path_of

KEYS = {"event_id", "type", "sender", "content", "room_id", "origin_server_ts", "unsigned"}


async def test_events_of_rooms_with_its_users_arrive(server: Server, bridge: Bridge, puppeteer: Puppeteer) -> None:
    alice = await server.user("alice")
    other = await alice.create_room()
    await alice.say(other, "nobody's business")
    room_id = await bridged_room(server, puppeteer, alice)
    await alice.say(room_id, "hello")
    event = await bridge.body_arrives("hello")
    assert event.keys() >= KEYS
    assert event["room_id"] == room_id
    assert {event["room_id"] for event in bridge.events} == {room_id}
    first = bridge.asked[0]
    assert (first.method, first.token) == ("PUT", HS_TOKEN)
    assert first.path.startswith("/_matrix/app/v1/transactions/")


async def test_invitations_and_its_own_events_arrive(server: Server, bridge: Bridge, puppeteer: Puppeteer) -> None:
    alice = await server.user("alice")
    room_id = await alice.create_room()
    await alice.call("POST", path_of("rooms", room_id, "invite"), {"user_id": SENDER})
    await bridge.until(lambda: [event for event in bridge.events if event.get("state_key") == SENDER])
    assert [event["content"]["membership"] for event in bridge.events] == ["invite"]
    await puppeteer.call("POST", f"/join/{room_id}", {})
    await puppeteer.call("PUT", path_of("rooms", room_id, "send", "m.room.message", "1"), {"body": "mine"})
    assert (await bridge.body_arrives("mine"))["sender"] == SENDER


async def test_aliases_and_rooms_of_its_namespaces(bridge: Bridge, registration: Path, tmp_path: Path) -> None:
    namespaces = {"users": [], "aliases": [{"exclusive": False, "regex": "#irc"}], "rooms": []}
    registration.write_bytes(orjson.dumps(bridge.registration(namespaces=namespaces)))
    async with running_server(tmp_path, application_services=[str(registration)]) as server:
        alice = await server.user("alice")
        await alice.say(await alice.create_room(), "elsewhere")
        room_id = await alice.create_room(room_alias_name="irc-chat")
        await alice.say(room_id, "in a room of this name")
        await bridge.body_arrives("in a room of this name")
        assert {event["room_id"] for event in bridge.events} == {room_id}
    namespaces = {"users": [], "aliases": [], "rooms": [{"exclusive": False, "regex": ".*"}]}
    registration.write_bytes(orjson.dumps(bridge.registration(namespaces=namespaces)))
    async with running_server(tmp_path, application_services=[str(registration)]) as server:
        alice = await server.user("alice")
        await alice.say(await alice.create_room(), "anywhere")
        await bridge.body_arrives("anywhere")


async def test_order_is_kept_and_nothing_is_lost_while_it_is_down(
    bridge: Bridge, registration: Path, tmp_path: Path
) -> None:
    bridge.status = 503
    async with running_server(tmp_path, application_services=[str(registration)]) as server:
        puppeteer, alice = Puppeteer(server), await server.user("alice")
        room_id = await bridged_room(server, puppeteer, alice)
        for number in range(250):
            await alice.say(room_id, str(number))
        await bridge.until(lambda: len(bridge.asked) >= 2)
        # The last of its users leaves while it is down: what was said before is still its business.
        await puppeteer.call("POST", path_of("rooms", room_id, "leave"), {}, user="_irc_bob")
        await alice.say(room_id, "not for the bridge")
    refused = {asked.path for asked in bridge.asked}
    assert len(refused) == 1, "a transaction keeps its ID until it has arrived"
    sent_in_vain = bridge.asked[0].body
    bridge.status = 200
    async with running_server(tmp_path, application_services=[str(registration)]) as server:
        await bridge.body_arrives("249", 20)
        await bridge.until(lambda: [event for event in bridge.events if event["content"].get("membership") == "leave"])
        first_id, first = bridge.transactions[0]
        assert refused == {f"/_matrix/app/v1/transactions/{first_id}"}
        assert first == sent_in_vain
        said = [event["content"]["body"] for event in bridge.events if "body" in event["content"]]
        assert said == [str(number) for number in range(250)]
        ids = [event["event_id"] for event in bridge.events]
        assert len(set(ids)) == len(ids)
        assert max(len(body["events"]) for _, body in bridge.transactions) <= 100
        assert len({transaction_id for transaction_id, _ in bridge.transactions}) == len(bridge.transactions)


async def test_the_pause_outlives_a_restart_and_contact_ends_it(
    bridge: Bridge, registration: Path, tmp_path: Path
) -> None:
    bridge.status = 500
    async with running_server(tmp_path, application_services=[str(registration)]) as server:
        root = await server.user("root", admin=True)
        await bridged_room(server, Puppeteer(server), root)
        await bridge.until(lambda: len(bridge.asked) >= 2)
        path = "/_starling/admin/v1/application_services/irc"
        shown = (await root.client.request("GET", path)).json
        assert "it answered 500" in shown["problem"]
        assert shown["down_since_ts"] <= shown["next_attempt_ts"]
        assert AS_TOKEN not in orjson.dumps(shown).decode()
    database = SqliteDatabase(tmp_path / "test.db", synchronous="OFF")
    async with running_server(tmp_path, database, application_services=[str(registration)]) as server:
        asked = len(bridge.asked)
        root = await server.user("root")
        shown = (await root.client.request("GET", path)).json
        assert shown["down_since_ts"] > 0
        bridge.status = 200
        # It pings: it is up again.
        await Puppeteer(server).ask("POST", "/_matrix/client/v1/appservice/irc/ping", {})
        await bridge.until(lambda: bridge.transactions, 6)
        assert len(bridge.asked) > asked


async def test_older_services_get_the_older_paths(server: Server, bridge: Bridge, puppeteer: Puppeteer) -> None:
    async def unknown(_: object) -> tuple[int, object]:
        return 404, {"errcode": "M_UNRECOGNIZED"}

    bridge.answers["/_matrix/app/v1/transactions"] = unknown
    alice = await server.user("alice")
    room_id = await bridged_room(server, puppeteer, alice)
    await alice.say(room_id, "hello")
    await bridge.body_arrives("hello")
    older = next(asked for asked in bridge.asked if asked.path.startswith("/transactions/"))
    assert older.query["access_token"] == HS_TOKEN


async def test_a_service_without_url_is_sent_nothing(bridge: Bridge, registration: Path, tmp_path: Path) -> None:
    registration.write_bytes(orjson.dumps(bridge.registration(url=None)))
    async with running_server(tmp_path, application_services=[str(registration)]) as server:
        puppeteer, alice = Puppeteer(server), await server.user("alice")
        await bridged_room(server, puppeteer, alice)
        answer = await puppeteer.ask("POST", "/_matrix/client/v1/appservice/irc/ping", {})
        assert (answer.status, answer.json["errcode"]) == (400, "M_URL_NOT_SET")
        shown = server.homeserver.appservices.services.describe_one("irc")
        assert shown["lag"] < 100
    assert bridge.asked == []
