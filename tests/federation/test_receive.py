"""Receiving events: transactions, the fate of each PDU, gaps, forks, redactions in any order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from federation.network import FederatedServer, Network, eventually
from federation.rooms import (
    VERSIONS,
    agree,
    hears,
    join_via,
    public_room,
    room_of,
    said,
    sees_member,
    sees_state,
    two_servers,
)
from federation.visitor import Visitor, visit
from server_kit import User

from homeserver.protocol.receipt import Standing
from homeserver.testing import path_of

_SEND = "/_matrix/federation/v1/send/"


async def standing(server: FederatedServer, event_id: str) -> Standing | None:
    """What became of an event; None when it is not stored, or an outlier."""
    stored = await server.homeserver.rooms.events.find(event_id)
    return stored.standing if stored is not None and stored.position is not None else None


async def hosted(network: Network, version: str = "12", **wanted: Any) -> tuple[FederatedServer, User, Visitor]:
    """A server, its user in a public room, and a visitor there."""
    alpha = await network.add("alpha.test")
    alice = await alpha.user("alice")
    room_id = await public_room(alice, version, **wanted)
    return alpha, alice, await visit(network, alpha, room_id)


async def test_a_transaction_is_received_once(network: Network) -> None:
    _, alice, eve = await hosted(network)
    first = eve.say("one")
    assert await eve.send(first, transaction="same") == {first.event_id: {}}
    assert await eve.send(first, eve.say("two"), transaction="same") == {first.event_id: {}}
    assert await said(alice, eve.room_id) == ["one"]


async def test_a_transaction_has_limits(network: Network) -> None:
    alpha, alice, eve = await hosted(network)
    for body in (
        {"pdus": [{}] * 51},
        {"pdus": [], "edus": [{}] * 101},
        {"pdus": {}},
        {"edus": "none"},
    ):
        status, answer = await eve.fake.ask(alpha, "PUT", _SEND + "big", body)
        assert (status, answer["errcode"]) in {(400, "M_TOO_LARGE"), (400, "M_BAD_JSON")}
    assert await eve.send(*[eve.say(str(number)) for number in range(50)])
    assert await said(alice, eve.room_id) == [str(number) for number in range(50)]


async def test_events_in_any_order_within_a_transaction(network: Network) -> None:
    alpha, alice, eve = await hosted(network)
    events = [eve.say(str(number)) for number in range(6)]
    results = await eve.send(*[events[number] for number in (3, 1, 5, 0, 4, 2)])
    assert results == {event.event_id: {} for event in events}
    assert await said(alice, eve.room_id) == [str(number) for number in range(6)]
    assert [end.event_id for end in (await room_of(alpha, eve.room_id)).extremities] == [events[-1].event_id]


async def test_rejected_events_are_kept_but_do_nothing(network: Network) -> None:
    alpha, alice, eve = await hosted(network)
    state = (await room_of(alpha, eve.room_id)).state
    forbidden = eve.make("m.room.name", {"name": "Eve's"}, "")
    following = eve.make("m.room.message", {"msgtype": "m.text", "body": "on it"}, after=[forbidden])
    assert await eve.send(forbidden, following) == {forbidden.event_id: {}, following.event_id: {}}
    assert await standing(alpha, forbidden.event_id) is Standing.REJECTED
    assert await standing(alpha, following.event_id) is Standing.ACCEPTED
    assert (await room_of(alpha, eve.room_id)).state == state
    stored = await alpha.homeserver.rooms.events.find(forbidden.event_id)
    assert stored is not None
    assert "power level" in (stored.reason or "")
    assert await said(alice, eve.room_id) == ["on it"]
    # Nothing of ours follows on the rejected event: the graph has one end.
    assert [end.event_id for end in (await room_of(alpha, eve.room_id)).extremities] == [following.event_id]


async def test_evading_a_ban_is_soft_failed(network: Network) -> None:
    alpha, alice, eve = await hosted(network)
    await alice.call("POST", path_of("rooms", eve.room_id, "ban"), {"user_id": eve.user_id})
    before = (await room_of(alpha, eve.room_id)).extremities
    late = eve.say("I was never banned")
    assert await eve.send(late) == {late.event_id: {}}
    assert await standing(alpha, late.event_id) is Standing.SOFT_FAILED
    assert (await room_of(alpha, eve.room_id)).extremities == before
    assert await said(alice, eve.room_id) == []


@pytest.mark.parametrize("version", ["1", "6", "12"])
async def test_a_gap_is_filled(network: Network, version: str) -> None:
    alpha, alice, eve = await hosted(network, version)
    events = [eve.say(str(number)) for number in range(8)]
    eve.serve("get_missing_events", {"events": [event.pdu for event in events[:-1]]}, method="POST")
    assert await eve.send(events[-1]) == {events[-1].event_id: {}}
    assert await said(alice, eve.room_id) == [str(number) for number in range(8)]
    assert len((await room_of(alpha, eve.room_id)).extremities) == 1


@pytest.mark.parametrize("version", ["1", "10", "12"])
async def test_a_gap_too_wide_is_bridged_by_the_state(network: Network, version: str) -> None:
    """What lies in between is fetched when somebody reads back."""
    alpha, alice, eve = await hosted(network, version)
    events = [eve.say(str(number)) for number in range(30)]
    eve.serve("get_missing_events", {"events": [event.pdu for event in events[20:29]]}, method="POST")
    eve.serve_state(eve.state)
    eve.serve_events(*events)
    assert await eve.send(events[-1]) == {events[-1].event_id: {}}
    ends = {end.event_id for end in (await room_of(alpha, eve.room_id)).extremities}
    assert events[-1].event_id in ends
    eve.serve("backfill", {"pdus": [event.pdu for event in events[:20][::-1]]})
    assert await said(alice, eve.room_id) == [str(number) for number in range(30)]
    ours = await alice.say(eve.room_id, "after all")
    assert [end.event_id for end in (await room_of(alpha, eve.room_id)).extremities] == [ours]


async def test_an_event_of_the_gap_arrives_late(network: Network) -> None:
    alpha, alice, eve = await hosted(network)
    late, newest = eve.say("late"), eve.say("newest")
    eve.serve("get_missing_events", {"events": []}, method="POST")
    eve.serve_state(eve.state)
    eve.serve_events(late)
    assert await eve.send(newest) == {newest.event_id: {}}
    ends = (await room_of(alpha, eve.room_id)).extremities
    assert await eve.send(late) == {late.event_id: {}}
    assert await standing(alpha, late.event_id) is Standing.ACCEPTED
    assert (await room_of(alpha, eve.room_id)).extremities == ends
    assert await said(alice, eve.room_id) == ["late", "newest"]


@pytest.mark.parametrize("version", ["1", *VERSIONS])
async def test_redactions_before_and_after_their_target(network: Network, version: str) -> None:
    alpha, alice, eve = await hosted(network, version)
    start = eve.tips
    target, other = eve.say("regret"), eve.say("regret too", after=start)
    redaction = eve.make("m.room.redaction", {"redacts": target.event_id}, redacts=target.event_id, after=[target])
    early = eve.make("m.room.redaction", {"redacts": other.event_id}, redacts=other.event_id, after=[redaction])
    assert not any((await eve.send(target, redaction, early)).values())
    assert not any((await eve.send(other)).values())
    for event in (target, other):
        shown = await alice.call("GET", path_of("rooms", eve.room_id, "event", event.event_id))
        assert shown["content"] == {}, version
        assert shown["unsigned"]["redacted_because"]["sender"] == eve.user_id
        status, answer = await eve.fake.ask(alpha, "GET", "/_matrix/federation/v1" + path_of("event", event.event_id))
        assert status == 200
        assert answer["pdus"][0]["content"] == {}


async def test_nobody_redacts_the_events_of_other_servers_without_the_power(network: Network) -> None:
    _, alice, eve = await hosted(network)
    mine = await alice.say(eve.room_id, "keep this")
    redaction = eve.make("m.room.redaction", {"redacts": mine})
    assert await eve.send(redaction) == {redaction.event_id: {}}
    shown = await alice.call("GET", path_of("rooms", eve.room_id, "event", mine))
    assert shown["content"]["body"] == "keep this"


@pytest.mark.parametrize("version", VERSIONS)
async def test_both_servers_write_while_they_cannot_reach_each_other(network: Network, version: str) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await public_room(alice, version)
    await join_via(bob, room_id, alpha)
    await sees_member(alice, room_id, bob.user_id, "join")
    levels = await alice.call("GET", path_of("rooms", room_id, "state", "m.room.power_levels", ""))
    levels.setdefault("users", {})[bob.user_id] = 60
    await alice.set_state(room_id, "m.room.power_levels", levels)
    await sees_state(bob, room_id, ("m.room.power_levels", ""), users=levels["users"])
    await asyncio.gather(alpha.hang_up(), beta.hang_up())
    for user in (alice, bob):
        await user.say(room_id, f"{user.user_id} alone")
        await user.set_state(room_id, "m.room.topic", {"topic": f"of {user.user_id}"})
    await bob.set_state(room_id, "m.room.name", {"name": "Bob's"})
    levels["users"][bob.user_id] = 0
    await alice.set_state(room_id, "m.room.power_levels", levels)
    await bob.say(room_id, "last of bob")
    await alice.say(room_id, "last of alice")
    await asyncio.gather(alpha.listen(), beta.listen())
    await hears(alice, room_id, "last of bob")
    await hears(bob, room_id, "last of alice")
    await agree(room_id, alpha, beta)
    await bob.say(room_id, "together again")
    await hears(alice, room_id, "together again")
    await agree(room_id, alpha, beta)
    assert len((await room_of(alpha, room_id)).extremities) == 1


async def test_typing_and_receipts_of_members_only(network: Network) -> None:
    alpha, alice, eve = await hosted(network)
    event_id = await alice.say(eve.room_id, "read me")
    receipt = {"m.read": {eve.user_id: {"event_ids": [event_id], "data": {"ts": 1}}}}
    stranger = f"@stranger:{eve.fake.name}"
    await eve.send(
        edus=[
            {"edu_type": "m.typing", "content": {"room_id": eve.room_id, "user_id": eve.user_id, "typing": True}},
            {"edu_type": "m.typing", "content": {"room_id": eve.room_id, "user_id": stranger, "typing": True}},
            {"edu_type": "m.typing", "content": {"room_id": eve.room_id, "user_id": alice.user_id, "typing": True}},
            {"edu_type": "m.receipt", "content": {eve.room_id: receipt}},
            {"edu_type": "m.nonsense", "content": {}},
            {"edu_type": 1},
        ]
    )
    synced = await alice.sync()
    ephemeral = {one["type"]: one["content"] for one in synced["rooms"]["join"][eve.room_id]["ephemeral"]["events"]}
    assert ephemeral["m.typing"]["user_ids"] == [eve.user_id]
    assert list(ephemeral["m.receipt"][event_id]["m.read"]) == [eve.user_id]
    acl = {"allow": ["*"], "deny": [eve.fake.name]}
    await alice.set_state(eve.room_id, "m.room.server_acl", acl)
    await eve.send(
        edus=[{"edu_type": "m.typing", "content": {"room_id": eve.room_id, "user_id": eve.user_id, "typing": False}}]
    )
    assert alpha.homeserver.sync.typing.users_in(eve.room_id) == [eve.user_id]


async def test_messages_to_devices(network: Network) -> None:
    _, alice, eve = await hosted(network)
    content = {
        "sender": eve.user_id,
        "type": "m.test",
        "message_id": "once",
        "messages": {alice.user_id: {alice.device_id: {"hello": "you"}}},
    }
    for name in ("a", "b"):
        await eve.send(edus=[{"edu_type": "m.direct_to_device", "content": content}], transaction=name)
    assert [one["content"] for one in (await alice.sync())["to_device"]["events"]] == [{"hello": "you"}]


async def test_presence_and_device_lists(network: Network) -> None:
    alpha = await network.add("alpha.test", presence={"enabled": True})
    alice = await alpha.user("alice")
    eve = await visit(network, alpha, await public_room(alice))
    await alice.sync()
    stranger = f"@stranger:{eve.fake.name}"
    here = [{"user_id": user, "presence": "online", "last_active_ago": 5} for user in (eve.user_id, stranger)]
    changed = {"device_id": "NEW", "stream_id": 1, "prev_id": []}
    await eve.send(
        edus=[
            {"edu_type": "m.presence", "content": {"push": here}},
            {"edu_type": "m.device_list_update", "content": {"user_id": eve.user_id, **changed}},
            {"edu_type": "m.device_list_update", "content": {"user_id": stranger, **changed}},
            {"edu_type": "m.signing_key_update", "content": {"user_id": eve.user_id}},
        ]
    )
    synced = await alice.sync()
    told = {one["sender"]: one["content"]["presence"] for one in synced["presence"]["events"]}
    assert told[eve.user_id] == "online"
    assert stranger not in told
    assert synced["device_lists"]["changed"] == [eve.user_id]


async def test_a_message_from_elsewhere_notifies(network: Network) -> None:
    _alpha, alice, eve = await hosted(network)
    await alice.sync()
    mention = {"msgtype": "m.text", "body": "alice!", "m.mentions": {"user_ids": [alice.user_id]}}
    await eve.send(eve.make("m.room.message", mention))
    counts = (await alice.sync())["rooms"]["join"][eve.room_id]["unread_notifications"]
    assert counts == {"highlight_count": 1, "notification_count": 1}


async def test_a_restart_in_the_middle_of_a_room(network: Network) -> None:
    alpha, alice, eve = await hosted(network)
    await eve.send(eve.say("before"))
    eve.host = alpha = await network.restart("alpha.test")
    alice = await alpha.user("alice")
    after = eve.say("after")
    assert await eve.send(after) == {after.event_id: {}}

    async def is_there() -> bool:
        return await said(alice, eve.room_id) == ["before", "after"]

    await eventually(is_there)
