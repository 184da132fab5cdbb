"""Joining, leaving, inviting, kicking, banning, knocking; restricted rooms."""

from __future__ import annotations

from typing import Any

import pytest
from server_kit import Server, User

from homeserver.testing import path_of


async def _membership(user: User, room_id: str, of: User) -> str:
    content = await user.call("GET", path_of("rooms", room_id, "state", "m.room.member", of.user_id))
    return str(content["membership"])


async def _refused(user: User, room_id: str, action: str, other: User | None = None) -> str:
    body = {} if other is None else {"user_id": other.user_id}
    answer = await user.ask("POST", path_of("rooms", room_id, action), body)
    assert answer.status in {400, 403}, answer.body
    return str(answer.json["errcode"])


async def test_a_private_room_is_entered_by_invitation(server: Server) -> None:
    alice, bob, carol = await server.users("alice", "bob", "carol")
    room_id = await alice.create_room()
    assert await _refused(bob, room_id, "join") == "M_FORBIDDEN"
    await alice.invite(room_id, bob)
    await bob.join(room_id)
    await bob.join(room_id)  # again: nothing happens
    assert await _membership(alice, room_id, bob) == "join"
    assert await _refused(alice, room_id, "invite", bob) == "M_FORBIDDEN"
    assert await _refused(carol, room_id, "invite", carol) == "M_FORBIDDEN"
    events = (await alice.messages(room_id, limit="50"))["chunk"]
    assert sum(event.get("state_key") == bob.user_id for event in events) == 2


async def test_kick_ban_and_unban(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    assert await _refused(alice, room_id, "kick", bob) == "M_FORBIDDEN"
    await bob.join(room_id)
    assert await _refused(bob, room_id, "kick", alice) == "M_FORBIDDEN"
    await alice.call("POST", path_of("rooms", room_id, "kick"), {"user_id": bob.user_id, "reason": "why not"})
    kicked = await alice.call("GET", path_of("rooms", room_id, "state", "m.room.member", bob.user_id))
    assert (kicked["membership"], kicked["reason"]) == ("leave", "why not")
    await bob.join(room_id)
    await alice.call("POST", path_of("rooms", room_id, "ban"), {"user_id": bob.user_id})
    assert await _refused(bob, room_id, "join") == "M_FORBIDDEN"
    assert await _refused(alice, room_id, "invite", bob) == "M_FORBIDDEN"
    await alice.call("POST", path_of("rooms", room_id, "unban"), {"user_id": bob.user_id})
    assert await _refused(alice, room_id, "unban", bob) == "M_FORBIDDEN"
    await bob.join(room_id)


async def test_a_knock_is_answered_with_an_invitation(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}]
    )
    await bob.call("POST", path_of("knock", room_id), {"reason": "please"})
    assert await _membership(alice, room_id, bob) == "knock"
    knocked = (await bob.sync())["rooms"]["knock"][room_id]["knock_state"]["events"]
    assert {event["type"] for event in knocked} >= {"m.room.create", "m.room.member", "m.room.join_rules"}
    await alice.invite(room_id, bob)
    await bob.join(room_id)


async def test_a_restricted_room_lets_in_the_members_of_another(server: Server) -> None:
    alice, bob, carol = await server.users("alice", "bob", "carol")
    club = await alice.create_room(preset="public_chat")
    allow = [{"type": "m.room_membership", "room_id": club}]
    rules = {"join_rule": "restricted", "allow": allow}
    room_id = await alice.create_room(
        room_version="10", initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rules}]
    )
    await bob.join(club)
    await bob.join(room_id)
    content = await bob.call("GET", path_of("rooms", room_id, "state", "m.room.member", bob.user_id))
    assert content["join_authorised_via_users_server"] == alice.user_id
    assert await _refused(carol, room_id, "join") == "M_FORBIDDEN"
    elsewhere = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": "!other:elsewhere"}]}
    await alice.set_state(room_id, "m.room.join_rules", elsewhere)
    assert await _refused(carol, room_id, "join") == "M_UNABLE_TO_AUTHORISE_JOIN"


async def test_only_what_was_left_can_be_forgotten(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    assert await _refused(bob, room_id, "forget") == "M_UNKNOWN"
    await bob.leave(room_id)
    assert (await bob.ask("GET", path_of("rooms", room_id, "messages"))).status == 200
    await bob.call("POST", path_of("rooms", room_id, "forget"))
    assert (await bob.ask("GET", path_of("rooms", room_id, "messages"))).status == 403
    everything = await bob.sync(filter='{"room":{"include_leave":true}}')
    assert room_id not in everything.get("rooms", {}).get("leave", {})


async def test_who_blocks_invitations_gets_none(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room()
    path = path_of("user", bob.user_id, "account_data", "m.invite_permission_config")
    await bob.call("PUT", path, {"default_action": "block"})
    assert await _refused(alice, room_id, "invite", bob) == "M_INVITE_BLOCKED"


async def test_a_new_name_is_shown_in_all_rooms(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    await alice.sync()
    await bob.call("PUT", path_of("profile", bob.user_id, "displayname"), {"displayname": "Robert"})
    news = await alice.sync(5_000)
    (event,) = news["rooms"]["join"][room_id]["timeline"]["events"]
    assert event["content"] == {"membership": "join", "displayname": "Robert"}
    assert event["unsigned"]["prev_content"]["displayname"] == "bob"


@pytest.mark.parametrize("room", ["!nowhere:example.org", "!" + "a" * 43])
async def test_unknown_rooms(server: Server, room: str) -> None:
    (alice,) = await server.users("alice")
    asked: list[Any] = [
        await alice.ask("POST", path_of("join", room), {}),
        await alice.ask("POST", path_of("rooms", room, "leave"), {}),
        await alice.ask("PUT", path_of("rooms", room, "send", "m.room.message", "1"), {}),
        await alice.ask("GET", path_of("rooms", room, "state")),
    ]
    assert {answer.status for answer in asked} <= {403, 404}
