"""The room log: state as deltas, memberships and summaries kept beside, rooms taken over from other servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from protocol.room_builder import ALICE, BOB, CAROL, RoomBuilder, new_room
from sqlalchemy import Connection, func, select

from homeserver.protocol.events import Event
from homeserver.protocol.receipt import Standing
from homeserver.storage.database import Database
from homeserver.storage.events import load_events, load_newest
from homeserver.storage.memberships import find_membership, load_joined_members, load_local_members
from homeserver.storage.remote_rooms import (
    Adoption,
    HistoricalEvent,
    adopt_room,
    load_backward_extremities,
    prepend_history,
    record_outside_membership,
    store_outliers,
)
from homeserver.storage.room_log import Append, AppendBatch, Extremity, RoomMoved, append
from homeserver.storage.room_state import LONGEST_CHAIN, find_group_at, load_state
from homeserver.storage.room_summaries import load_summaries
from homeserver.storage.rooms import find_room
from homeserver.storage.tables.rooms import state_groups


async def write(
    database: Database, room: RoomBuilder, revision: int | None, events: Sequence[Event], **more: Any
) -> Any:
    """Append accepted events, the last of them being the room's end."""
    last = events[-1]
    assert room.room_id is not None
    batch = AppendBatch(
        room.room_id,
        room.version,
        revision,
        [Append(event, **more) for event in events],
        (Extremity(last.event_id, last.depth),),
        1,
        "one",
    )
    return await database.write(append, batch)


async def test_state_is_found_as_it_was_at_every_position(database: Database) -> None:
    room = new_room("11")
    appended = await write(database, room, None, list(room.events.values()))
    positions = {appended.events[-1].position: room.ids()}
    for number in range(LONGEST_CHAIN + 20):
        event = room.send("m.room.topic", ALICE, {"topic": str(number)}, "")
        appended = await write(database, room, appended.revision, [event])
        positions[appended.events[0].position] = room.ids()
    assert room.room_id is not None
    for position, expected in positions.items():
        group = await database.read(find_group_at, room.room_id, position)
        assert await database.read(load_state, group) == expected
    longest = await database.read(
        lambda connection: connection.execute(select(func.max(state_groups.c.chain_length))).scalar()
    )
    assert longest == LONGEST_CHAIN - 1


async def test_an_append_costs_the_same_in_a_big_room(database: Database) -> None:
    room = new_room("11")
    appended = await write(database, room, None, list(room.events.values()))
    joins = [room.member(f"@user{number}:one", "join") for number in range(300)]
    appended = await write(database, room, appended.revision, joins)
    before = await database.read(_stored_entries)
    appended = await write(database, room, appended.revision, [room.member(BOB, "join")])
    assert await database.read(_stored_entries) - before == 8  # one entry of eight bytes
    assert appended.members == (302, 0)


def _stored_entries(connection: Connection) -> int:
    return int(connection.execute(select(func.sum(func.length(state_groups.c.entries)))).scalar_one())


async def test_two_writers_cannot_both_extend_the_same_revision(database: Database) -> None:
    room = new_room("11")
    appended = await write(database, room, None, list(room.events.values()))
    one, other = room.make("m.room.message", ALICE, {"body": "1"}), room.make("m.room.message", ALICE, {"body": "2"})
    await write(database, room, appended.revision, [one])
    with pytest.raises(RoomMoved):
        await write(database, room, appended.revision, [other])
    assert await database.read(load_events, [other.event_id]) == {}


async def test_memberships_and_summary_follow_the_state(database: Database) -> None:
    room = new_room("11")
    assert room.room_id is not None
    appended = await write(database, room, None, list(room.events.values()))
    events = [
        room.member(BOB, "join", displayname="Bob"),
        room.send("m.room.name", ALICE, {"name": "A name"}, ""),
        room.member(CAROL, "invite", ALICE),
    ]
    await write(database, room, appended.revision, events)
    summary = (await database.read(load_summaries, [room.room_id]))[room.room_id]
    assert (summary.name, summary.joined_members, summary.invited_members) == ("A name", 2, 1)
    members = await database.read(load_joined_members, room.room_id)
    assert {(member.user_id, member.display_name) for member in members} == {(ALICE, None), (BOB, "Bob")}
    assert await database.read(load_local_members, room.room_id) == {ALICE: "join", BOB: "join"}


async def test_rejected_and_soft_failed_events_are_kept_but_not_shown(database: Database) -> None:
    room = new_room("11")
    assert room.room_id is not None
    appended = await write(database, room, None, list(room.events.values()))
    state = await database.read(load_state, appended.state_group)
    forged = room.make("m.room.name", BOB, {"name": "forged"}, "")
    late = room.make("m.room.message", ALICE, {"body": "late"})
    appended = await write(
        database,
        room,
        appended.revision,
        [forged],
        standing=Standing.REJECTED,
        reason="No power.",
        state_before=appended.state_group,
    )
    appended = await write(
        database,
        room,
        appended.revision,
        [late],
        standing=Standing.SOFT_FAILED,
        reason="Banned.",
        state_before=appended.state_group,
    )
    assert await database.read(load_state, appended.state_group) == state
    stored = await database.read(load_events, [forged.event_id, late.event_id])
    assert (stored[forged.event_id].standing, stored[forged.event_id].reason) == (Standing.REJECTED, "No power.")
    shown = await database.read(load_newest, room.room_id, 0, 10_000, 100)
    assert {event.event_id for event in shown}.isdisjoint({forged.event_id, late.event_id})


@pytest.mark.parametrize("version", ["1", "10", "12"])
async def test_a_room_of_another_server_is_taken_over(database: Database, version: str) -> None:
    room = new_room(version)
    assert room.room_id is not None
    message = room.send("m.room.message", ALICE, {"body": "before"})
    state = dict(room.state)
    join = room.member(CAROL, "join")
    adoption = Adoption(room.room_id, room.version, state, list(room.state.values()), join, 1, "two")
    appended = await database.write(adopt_room, adoption)
    assert await database.read(load_state, appended.state_group) == room.ids()
    found = await database.read(find_membership, room.room_id, CAROL)
    assert found is not None
    assert found.membership == "join"
    assert await database.read(load_local_members, room.room_id) == {CAROL: "join"}
    assert await database.read(load_backward_extremities, room.room_id, 10) == [(message.event_id, join.depth)]

    # History that is fetched later goes in front of the join, and is shown.
    history = [HistoricalEvent(message, state_before=appended.events[0].state_before)]
    assert await database.write(prepend_history, room.room_id, history) == 1
    assert await database.write(prepend_history, room.room_id, history) == 0
    shown = await database.read(load_newest, room.room_id, -100, 10_000, 100)
    assert [event.event_id for event in shown] == [message.event_id, join.event_id]

    # An event that came as an outlier gets its place when it arrives for good.
    following = room.send("m.room.message", CAROL, {"body": "after"})
    await database.write(store_outliers, room.room_id, [following])
    row = await database.read(find_room, room.room_id)
    assert row is not None
    await write(database, room, row.revision, [following], may_be_known=True)
    shown = await database.read(load_newest, room.room_id, 0, 10_000, 100)
    assert [event.event_id for event in shown] == [join.event_id, following.event_id]


async def test_an_invitation_to_a_room_elsewhere(database: Database) -> None:
    room = new_room("11")
    assert room.room_id is not None
    invite = room.member(CAROL, "invite", ALICE)
    await database.write(record_outside_membership, room.room_id, room.version, invite, 1, "two")
    found = await database.read(find_membership, room.room_id, CAROL)
    assert found is not None
    assert (found.membership, found.event_id, found.sender) == ("invite", invite.event_id, ALICE)
