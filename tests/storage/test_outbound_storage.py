"""What waits for other servers, on both databases: sets of servers, transactions that stay until they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from protocol.room_builder import ALICE, RoomBuilder, new_room
from sqlalchemy import Connection, func, select

from homeserver.storage.database import Database
from homeserver.storage.destinations import (
    BackOffRow,
    delete_back_off,
    delete_old_back_offs,
    load_back_offs,
    store_back_off,
)
from homeserver.storage.events import StoredEvent
from homeserver.storage.followers import find_follower_position
from homeserver.storage.openid_tokens import create_openid_token, find_openid_user
from homeserver.storage.outbound_events import (
    OutboundEvent,
    delete_sent_events,
    find_relays,
    load_joined_users,
    note_relay,
    queue_events,
)
from homeserver.storage.outbound_transactions import (
    NewTransaction,
    OutboundTransaction,
    QueuedEdu,
    delete_old_edus,
    load_servers_to_serve,
    next_transaction,
    queue_edus,
    take_device_list_step,
)
from homeserver.storage.room_log import Append, AppendBatch, Extremity, append
from homeserver.storage.server_keys import ServerKey, load_server_keys, store_server_keys
from homeserver.storage.tables.destinations import outbound_events, server_set_members, server_sets

ONE, BOTH = frozenset({"one.test"}), frozenset({"one.test", "two.test"})


async def stored_messages(database: Database, count: int) -> Sequence[StoredEvent]:
    """Messages in a room."""
    room: RoomBuilder = new_room("11")
    assert room.room_id is not None
    made = [*room.events.values(), *(room.send("m.room.message", ALICE, {"n": n}) for n in range(count))]
    last = made[-1]
    batch = AppendBatch(
        room.room_id,
        room.version,
        None,
        [Append(event) for event in made],
        (Extremity(last.event_id, last.depth),),
        1,
        "one",
    )
    return (await database.write(append, batch)).events[-count:]  # type: ignore[no-any-return]


async def queue(database: Database, events: Sequence[StoredEvent], servers: frozenset[str]) -> None:
    outbound = [OutboundEvent(event.position or 0, event.nid, servers) for event in events]
    await database.write(queue_events, outbound, (), "sender", outbound[-1].position)


async def following(
    database: Database, server: str, arrived: str | None = None, name: str = "t1", edus: Sequence[bytes] = ()
) -> OutboundTransaction | None:
    return await database.write(next_transaction, server, arrived, NewTransaction(name, 7, edus))


def counts(connection: Connection) -> list[int]:
    tables = (outbound_events, server_sets, server_set_members)
    return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]


async def test_each_server_gets_its_events_in_order_and_once(database: Database) -> None:
    events = await stored_messages(database, 60)
    await queue(database, events[:30], BOTH)
    await queue(database, events[30:], ONE)
    assert await database.read(find_follower_position, "sender") == events[-1].position
    assert await database.read(load_servers_to_serve) == {"one.test", "two.test"}
    first = await following(database, "one.test")
    assert first is not None
    assert (first.event_nids, first.is_new, first.created_ms) == (tuple(e.nid for e in events[:50]), True, 7)
    again = await following(database, "one.test", name="t2")
    assert again is not None
    assert (again.transaction_id, again.event_nids, again.is_new) == ("t1", first.event_nids, False)
    second = await following(database, "one.test", arrived="t1", name="t2")
    assert second is not None
    assert (second.transaction_id, second.event_nids) == ("t2", tuple(event.nid for event in events[50:]))
    assert await following(database, "one.test", arrived="t2", name="t3") is None
    assert await database.read(load_servers_to_serve) == {"two.test"}


async def test_rows_do_not_grow_with_servers(database: Database) -> None:
    events = await stored_messages(database, 5)
    for event in events:
        await queue(database, [event], BOTH)
    assert await database.read(counts) == [5, 1, 2]
    # The same events once more, as after a crash of the follower.
    await queue(database, events, BOTH)
    assert await database.read(counts) == [5, 1, 2]


async def test_edus_go_along_and_stay_until_they_have_arrived(database: Database) -> None:
    await database.write(queue_edus, [QueuedEdu("one.test", b'{"n":1}'), QueuedEdu("two.test", b'{"n":2}')], 5)
    assert await database.read(load_servers_to_serve) == {"one.test", "two.test"}
    first = await following(database, "one.test", edus=[b'{"typing":true}'])
    assert first is not None
    assert first.edus == ({"n": 1}, {"typing": True})
    await database.write(queue_edus, [QueuedEdu("one.test", b'{"n":3}')], 5)
    again = await following(database, "one.test", edus=[b'{"typing":false}'])
    assert again is not None
    assert again.edus == first.edus
    second = await following(database, "one.test", arrived="t1", name="t2")
    assert second is not None
    assert second.edus == ({"n": 3},)
    assert await following(database, "one.test", arrived="t2") is None
    await database.write(delete_old_edus, 6)
    assert await following(database, "two.test") is None


async def test_no_more_than_a_transaction_holds(database: Database) -> None:
    await database.write(queue_edus, [QueuedEdu("one.test", b"%d" % number) for number in range(150)], 5)
    first = await following(database, "one.test", edus=[b"-1"] * 20)
    assert first is not None
    assert len(first.edus) == 100
    second = await following(database, "one.test", arrived="t1", name="t2")
    assert second is not None
    assert second.edus == tuple(range(80, 150))


async def test_a_long_backlog_shrinks_to_the_newest_events(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeserver.storage.outbound_transactions.CATCH_UP_FROM", 60)
    events = await stored_messages(database, 80)
    await queue(database, events, ONE)
    only = await following(database, "one.test")
    assert only is not None
    assert only.event_nids == (events[-1].nid,)
    assert await following(database, "one.test", arrived="t1") is None


async def test_retention_keeps_what_somebody_still_needs(database: Database) -> None:
    events = await stored_messages(database, 3)
    await queue(database, events, BOTH)
    await following(database, "one.test")
    await following(database, "one.test", arrived="t1")
    await database.write(delete_sent_events, (), 0)
    assert await database.read(counts) == [3, 1, 2]
    await database.write(delete_sent_events, {"two.test"}, 0)
    assert await database.read(counts) == [0, 0, 0]


async def test_relays(database: Database) -> None:
    await database.write(note_relay, "$a", 5)
    await database.write(note_relay, "$a", 6)
    await database.write(note_relay, "$b", 5)
    assert await database.read(find_relays, ["$a", "$b", "$c"]) == {"$a", "$b"}
    await database.write(queue_events, [], ["$a"], "sender", 1)
    assert await database.read(find_relays, ["$a", "$b", "$c"]) == {"$b"}
    await database.write(delete_sent_events, (), 6)
    assert await database.read(find_relays, ["$b"]) == set()


async def test_everybody_in_a_room(database: Database) -> None:
    [event] = await stored_messages(database, 1)
    joined = await database.read(load_joined_users, event.event.room_id)
    assert ALICE in joined.user_ids
    assert joined.changed_at == event.position  # all of the room was written at once
    assert await database.read(load_joined_users, "!other:one") == ([], 0)


async def test_updates_of_device_lists_name_the_one_before(database: Database) -> None:
    assert await database.write(take_device_list_step, ALICE, 5) == ()
    assert await database.write(take_device_list_step, ALICE, 9) == (5,)
    assert await database.write(take_device_list_step, "@bob:one", 12) == ()


async def test_pauses(database: Database) -> None:
    row = BackOffRow("one.test", 1, 2, 3)
    await database.write(store_back_off, row)
    await database.write(store_back_off, row._replace(pause_ms=4, retry_at_ms=10))
    await database.write(store_back_off, BackOffRow("two.test", 1, 2, 3))
    assert await database.write(delete_old_back_offs, 5) == 1
    assert await database.read(load_back_offs) == [BackOffRow("one.test", 1, 4, 10)]
    await database.write(delete_back_off, "one.test")
    assert await database.read(load_back_offs) == []


async def test_server_keys(database: Database) -> None:
    key = ServerKey("one.test", "ed25519:1", "key", 10, None, 5, b"{}")
    await database.write(store_server_keys, [key, key._replace(key_id="ed25519:2", expired_ms=4)])
    await database.write(store_server_keys, [key._replace(valid_until_ms=20)])
    found = await database.read(load_server_keys, ["one.test", "two.test"])
    assert {name: set(keys) for name, keys in found.items()} == {"one.test": {"ed25519:1", "ed25519:2"}}
    assert found["one.test"]["ed25519:1"] == key._replace(valid_until_ms=20)
    assert found["one.test"]["ed25519:2"].expired_ms == 4


async def test_openid_tokens(database: Database) -> None:
    arguments: list[Any] = [b"hash", ALICE, 10, 5]
    await database.write(create_openid_token, *arguments)
    assert await database.read(find_openid_user, b"hash", 9) == ALICE
    assert await database.read(find_openid_user, b"hash", 10) is None
    assert await database.read(find_openid_user, b"other", 9) is None
