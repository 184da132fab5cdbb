"""The accepted dialect at /v4/sync: the same engine under the names of the proposal as it was merged."""

from __future__ import annotations

from typing import Any

import pytest
from server_kit import Server, User
from sliding_sync.conversation import ACCEPTED, bodies, state_of

from homeserver.testing import path_of


async def sync(user: User, **body: Any) -> Any:
    answer = await user.client.request("POST", ACCEPTED, json=body)
    assert answer.status == 200, answer.body
    return answer.json


def wanting(*include: dict[str, str], limit: int = 5, lazy: bool = False, **more: Any) -> dict[str, Any]:
    state = {"include": list(include), "lazy_members": lazy, "exclude": more.pop("exclude", [])}
    return {"timeline_limit": limit, "required_state": state, **more}


async def test_everything_is_in_the_body_and_rooms_name_their_lists(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(name="Salon", preset="public_chat")
    subscribed = await alice.create_room()
    await bob.join(room_id)
    await alice.say(room_id, "hello")
    lists = {"rooms": wanting({"type": "m.room.name"}, lazy=True, range=[0, 0])}
    wanted = {"conn_id": "main", "lists": lists, "room_subscriptions": {subscribed: wanting({})}}
    first = await sync(alice, **wanted)
    room = first["rooms"][room_id]
    assert (room["membership"], room["lists"], bodies(room)[-1]) == ("join", ["rooms"], "hello")
    assert "notification_count" not in room
    assert ("m.room.member", bob.user_id) in state_of(room)
    assert "lists" not in first["rooms"][subscribed]
    assert ("m.room.create", "") in state_of(first["rooms"][subscribed])
    await bob.say(room_id, "hi")
    news = await sync(alice, pos=first["pos"], timeout=10_000, **wanted)
    assert bodies(news["rooms"][room_id]) == ["hi"]
    assert state_of(news["rooms"][room_id]) == set()
    expanded = {**wanted, "room_subscriptions": {room_id: wanting(limit=20)}}
    room = (await sync(alice, pos=news["pos"], **expanded))["rooms"][room_id]
    assert room["expanded_timeline"] is True


async def test_state_is_included_and_excluded_by_pattern(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat", name="Salon")
    await bob.join(room_id)

    async def told(*include: dict[str, str], **more: Any) -> set[tuple[str, str]]:
        wanted = wanting(*include, limit=0, **more)
        return state_of((await sync(alice, room_subscriptions={room_id: wanted}))["rooms"][room_id])

    everything = await told({})
    assert {("m.room.create", ""), ("m.room.member", bob.user_id), ("m.room.name", "")} <= everything
    assert await told({}, exclude=[{"type": "m.room.create"}]) == everything - {("m.room.create", "")}
    assert await told({"state_key": bob.user_id}) == {("m.room.member", bob.user_id)}
    members = {("m.room.member", alice.user_id), ("m.room.member", bob.user_id)}
    assert await told({"type": "m.room.member"}) == members
    assert await told({}, lazy=True) == everything - members
    own = {"type": "m.room.member", "state_key": alice.user_id}
    assert await told({}, own, lazy=True) == everything - {("m.room.member", bob.user_id)}
    assert await told() == set()


async def test_invitations_are_shown_by_stripped_state(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    lists = {"invites": wanting(filters={"is_invited": True})}
    answer = await sync(bob, lists=lists)
    room = answer["rooms"][room_id]
    assert (answer["lists"]["invites"]["count"], room["membership"]) == (1, "invite")
    assert {event["type"] for event in room["stripped_state"]} >= {"m.room.create", "m.room.member"}
    await bob.leave(room_id)
    left = (await sync(bob, pos=answer["pos"], lists=lists))["rooms"][room_id]
    assert left["membership"] == "leave"


async def test_a_knock_is_a_room_too(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    rules = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    room_id = await alice.create_room(initial_state=rules)
    await bob.call("POST", path_of("knock", room_id), {})
    room = (await sync(bob, lists={"all": wanting()}))["rooms"][room_id]
    assert room["membership"] == "knock"
    assert "timeline" not in room


@pytest.mark.parametrize(
    "body",
    [
        {"set_presence": "asleep"},
        {"room_subscriptions": {f"!{number}:x": wanting() for number in range(101)}},
        {"lists": {str(number): wanting() for number in range(101)}},
    ],
)
async def test_limits_of_the_proposal(server: Server, body: dict[str, Any]) -> None:
    (alice,) = await server.users("alice")
    answer = await alice.client.request("POST", ACCEPTED, json=body)
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_a_token_of_nobody_is_unknown(server: Server) -> None:
    (alice,) = await server.users("alice")
    answer = await alice.client.request("POST", ACCEPTED, json={"pos": "l1_2_3_4"})
    assert (answer.status, answer.json["errcode"]) == (400, "M_UNKNOWN_POS")
