"""What the room log does for events of other servers: gaps, events to pass on, redactions that came too early."""

from __future__ import annotations

import pytest
from protocol.room_builder import ALICE, CAROL, RoomBuilder, new_room

from homeserver.protocol.events import Event
from homeserver.storage.database import Database
from homeserver.storage.events import load_events
from homeserver.storage.memberships import find_membership, is_joined_anywhere
from homeserver.storage.outbound_events import find_relays, note_relay
from homeserver.storage.remote_rooms import (
    Adoption,
    HistoricalEvent,
    adopt_room,
    append_remote,
    is_backward_extremity,
    load_waiting_redactions,
    prepend_history,
    record_outside_membership,
)
from homeserver.storage.room_log import Append, AppendBatch, Appended, Extremity
from homeserver.storage.room_state import StateDelta
from homeserver.storage.rooms import find_room


def batch_of(room: RoomBuilder, revision: int | None, *items: Append) -> AppendBatch:
    last = items[-1].event
    assert room.room_id is not None
    end = Extremity(last.event_id, last.depth)
    return AppendBatch(room.room_id, room.version, revision, items, (end,), 1, "one")


async def stored_room(database: Database, version: str = "11") -> tuple[RoomBuilder, str, Appended]:
    room = new_room(version)
    assert room.room_id is not None
    items = [Append(event) for event in room.events.values()]
    return room, room.room_id, await database.write(append_remote, batch_of(room, None, *items))


async def test_gaps_are_noted_and_closed(database: Database) -> None:
    room, room_id, appended = await stored_room(database)
    missing = room.send("m.room.message", ALICE, {"body": "missing"})
    following = room.send("m.room.message", ALICE, {"body": "following"})
    item = Append(following, may_be_known=True)
    appended = await database.write(append_remote, batch_of(room, appended.revision, item))
    assert await database.read(is_backward_extremity, room_id, missing.event_id)
    item = Append(missing, may_be_known=True)
    await database.write(append_remote, batch_of(room, appended.revision, item))
    assert not await database.read(is_backward_extremity, room_id, missing.event_id)


async def test_what_is_ours_to_pass_on_is_noted_with_the_event(database: Database) -> None:
    room, _, appended = await stored_room(database)
    event = room.send("m.room.message", ALICE, {"body": "x"})
    await database.write(append_remote, batch_of(room, appended.revision, Append(event)), note_relay)
    assert await database.read(find_relays, [event.event_id]) == {event.event_id}


@pytest.mark.parametrize("as_history", [False, True])
async def test_a_redaction_waits_for_its_target(database: Database, as_history: bool) -> None:
    room, room_id, appended = await stored_room(database)
    target = room.send("m.room.message", ALICE, {"body": "regret"})
    redaction = room.apply(room.make("m.room.redaction", ALICE, {}, redacts=target.event_id))
    appended = await database.write(append_remote, batch_of(room, appended.revision, Append(redaction)))
    [waiting] = await database.read(load_waiting_redactions, room_id, target.event_id)
    assert waiting.event_id == redaction.event_id
    if as_history:
        await database.write(prepend_history, room_id, [HistoricalEvent(target, redacted_by=waiting)])
    else:
        item = Append(target, redacted_by=waiting, may_be_known=True)
        appended = await database.write(append_remote, batch_of(room, appended.revision, item))
        assert appended.events[0].redacted_by == redaction
    stored = (await database.read(load_events, [target.event_id]))[target.event_id]
    assert stored.redacted_by == redaction


async def test_events_of_the_past_share_the_state_between_two_changes(database: Database) -> None:
    room = new_room("11")
    assert room.room_id is not None
    messages = [room.send("m.room.message", ALICE, {"body": str(number)}) for number in range(4)]
    state = dict(room.state)
    join = room.member(CAROL, "join")
    await database.write(adopt_room, Adoption(room.room_id, room.version, state, [], join, 1, "two"))
    shared = StateDelta(None, {key: event.event_id for key, event in state.items()})
    history = [HistoricalEvent(event, state_before=shared) for event in messages[::-1]]
    assert await database.write(prepend_history, room.room_id, history) == 4
    stored = await database.read(load_events, [event.event_id for event in messages])
    assert len({one.state_before for one in stored.values()}) == 1
    assert [stored[event.event_id].position for event in messages] == [-4, -3, -2, -1]
    assert await database.read(is_joined_anywhere, ALICE)
    assert not await database.read(is_joined_anywhere, "@nobody:two")


async def test_an_invite_cannot_fix_the_version_of_a_room(database: Database) -> None:
    """Whoever invites may say of the room what they like; the room itself knows better."""
    room = new_room("11")
    assert room.room_id is not None
    lie = RoomBuilder("3")
    lie.room_id = room.room_id
    lie.state = {}
    invite = lie.make("m.room.member", ALICE, {"membership": "invite"}, CAROL)
    await database.write(record_outside_membership, room.room_id, lie.version, invite, 1, "two")
    state = dict(room.state)
    join = room.member(CAROL, "join")
    await database.write(adopt_room, Adoption(room.room_id, room.version, state, [], join, 1, "two"))
    row = await database.read(find_room, room.room_id)
    assert row is not None
    assert row.version == "11"
    assert await database.read(load_events, [invite.event_id]) == {}
    found = await database.read(find_membership, room.room_id, CAROL)
    assert found is not None
    assert found.membership == "join"
    with pytest.raises(ValueError, match="known for certain"):
        await database.write(record_outside_membership, room.room_id, lie.version, _again(lie), 1, "two")


def _again(lie: RoomBuilder) -> Event:
    return lie.make("m.room.member", ALICE, {"membership": "invite", "reason": "again"}, CAROL)
