"""Redacting an event takes what relates to it along, where asked for and allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from server_kit import Server, User, running_server

from homeserver.testing import path_of


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
async def people(server: Server) -> tuple[User, User, str]:
    """Alice, who made the room, Bob, and the room."""
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    return alice, bob, room_id


async def _relate(user: User, room_id: str, rel_type: str, target: str) -> str:
    relation: dict[str, Any] = {"rel_type": rel_type, "event_id": target}
    if rel_type == "m.annotation":
        return await user.send(room_id, "m.reaction", {"m.relates_to": {**relation, "key": "+1"}})
    return await user.say(room_id, "related", **{"m.relates_to": relation, "m.new_content": {"body": "new"}})


async def _redact(user: User, room_id: str, event_id: str, **body: Any) -> str:
    path = path_of("rooms", room_id, "redact", event_id, "txn")
    return str((await user.call("PUT", path, {"reason": "spam", **body}))["event_id"])


async def _is_redacted(user: User, room_id: str, event_id: str) -> bool:
    event = await user.call("GET", path_of("rooms", room_id, "event", event_id))
    return "redacted_because" in event["unsigned"]


@pytest.mark.parametrize("name", ["with_rel_types", "org.matrix.msc3912.with_relations"])
async def test_only_relations_of_the_named_types_go(people: tuple[User, User, str], name: str) -> None:
    alice, bob, room_id = people
    root = await alice.say(room_id, "root")
    edit = await _relate(alice, room_id, "m.replace", root)
    edit_of_edit = await _relate(alice, room_id, "m.replace", edit)
    reaction = await _relate(bob, room_id, "m.annotation", root)
    other = await alice.say(room_id, "other")
    first = await _redact(alice, room_id, root, **{name: ["m.replace"]})
    assert await _redact(alice, room_id, root, **{name: ["m.replace"]}) == first, "repeated"
    gone = {event_id: await _is_redacted(alice, room_id, event_id) for event_id in (root, edit, reaction, other)}
    assert gone == {root: True, edit: True, reaction: False, other: False}
    assert not await _is_redacted(alice, room_id, edit_of_edit)
    shown = await alice.call("GET", path_of("rooms", room_id, "event", first))
    assert shown["content"] == {"reason": "spam", "redacts": root}


async def test_a_moderator_removes_a_long_thread_at_once(people: tuple[User, User, str]) -> None:
    alice, bob, room_id = people
    root = await bob.say(room_id, "root")
    replies = [await _relate(bob, room_id, "m.thread", root) for _ in range(120)]
    reaction = await _relate(bob, room_id, "m.annotation", root)
    await _redact(alice, room_id, root, with_rel_types=["*"])
    for event_id in (replies[0], replies[99], replies[100], replies[-1], reaction):
        assert await _is_redacted(alice, room_id, event_id)


async def test_what_one_may_not_redact_stays(people: tuple[User, User, str]) -> None:
    alice, bob, room_id = people
    root = await bob.say(room_id, "root")
    of_alice = await _relate(alice, room_id, "m.thread", root)
    of_bob = await _relate(bob, room_id, "m.thread", root)
    await _redact(bob, room_id, root, with_rel_types=["m.thread"])
    assert await _is_redacted(bob, room_id, of_bob)
    assert not await _is_redacted(bob, room_id, of_alice)


async def test_without_types_only_the_event_itself_goes(server: Server, people: tuple[User, User, str]) -> None:
    alice, _, room_id = people
    root = await alice.say(room_id, "root")
    edit = await _relate(alice, room_id, "m.replace", root)
    wrong = await alice.ask("PUT", path_of("rooms", room_id, "redact", root, "t"), {"with_rel_types": "m.replace"})
    assert (wrong.status, wrong.json["errcode"]) == (400, "M_BAD_JSON")
    await _redact(alice, room_id, root)
    assert not await _is_redacted(alice, room_id, edit)
    versions = (await server.client.request("GET", "/_matrix/client/versions")).json
    assert versions["unstable_features"]["org.matrix.msc3912"] is True
