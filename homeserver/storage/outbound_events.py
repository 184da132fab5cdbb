"""Which events are to go to which servers: one row for each event, however many servers there are.

Servers that get the same events form a set, stored once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select

from homeserver.storage.events import batched_list
from homeserver.storage.followers import store_follower_position
from homeserver.storage.tables.destinations import (
    destinations,
    events_to_relay,
    outbound_events,
    server_set_members,
    server_sets,
)
from homeserver.storage.tables.events import events
from homeserver.storage.tables.rooms import memberships, rooms
from homeserver.storage.upsert import insert_or_ignore

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


class OutboundEvent(NamedTuple):
    """An event of the log and the servers that are to get it."""

    position: int
    event_nid: int
    servers: frozenset[str]


class JoinedUsers(NamedTuple):
    """Who is joined to a room, and the position at which any membership there last changed."""

    user_ids: list[str]
    changed_at: int


_INSERT_SET = insert_or_ignore(server_sets, ["sha256"]).returning(server_sets.c.nid)
_FIND_SET = select(server_sets.c.nid).where(server_sets.c.sha256 == bindparam("hash"))
_INSERT_MEMBERS = insert(server_set_members)
_ROOMS_OF = select(events.c.nid, events.c.room_nid).where(events.c.nid.in_(bindparam("nids", expanding=True)))
_INSERT_EVENTS = insert_or_ignore(outbound_events, ["position"])
_NOTE_RELAY = insert_or_ignore(events_to_relay, ["event_id"])
_FIND_RELAYS = select(events_to_relay.c.event_id).where(
    events_to_relay.c.event_id.in_(bindparam("ids", expanding=True))
)
_DROP_RELAYS = delete(events_to_relay).where(events_to_relay.c.event_id.in_(bindparam("ids", expanding=True)))
_DROP_OLD_RELAYS = delete(events_to_relay).where(events_to_relay.c.noted_ms < bindparam("before_ms"))
_JOINED = (
    select(memberships.c.user_id)
    .join(rooms, rooms.c.nid == memberships.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"), memberships.c.membership == "join")
)
_CHANGED_AT = (
    select(func.max(memberships.c.position))
    .join(rooms, rooms.c.nid == memberships.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"))
)
_SETS_IN_USE = select(outbound_events.c.set_nid).distinct()
_SENT_OF_SET = (
    select(server_set_members.c.server_name, func.coalesce(destinations.c.events_position, 0))
    .outerjoin(destinations, destinations.c.server_name == server_set_members.c.server_name)
    .where(server_set_members.c.set_nid == bindparam("of_set"))
)
_DROP_EVENTS = delete(outbound_events).where(
    outbound_events.c.set_nid == bindparam("of_set"), outbound_events.c.position <= bindparam("up_to")
)
_UNUSED_SETS = server_sets.c.nid.not_in(_SETS_IN_USE)
_DROP_MEMBERS = delete(server_set_members).where(server_set_members.c.set_nid.not_in(_SETS_IN_USE))
_DROP_SETS = delete(server_sets).where(_UNUSED_SETS)


def queue_events(
    tx: Transaction, outbound: Sequence[OutboundEvent], relayed: Collection[str], follower: str, up_to: int
) -> None:
    """Queue events, drop the notes of those `relayed`, and note how far the follower has read: all or nothing."""
    sets = {servers: _set_nid(tx, servers) for servers in {one.servers for one in outbound}}
    rooms_of = _rooms_of(tx.connection, [one.event_nid for one in outbound])
    rows = [
        {
            "position": one.position,
            "event_nid": one.event_nid,
            "room_nid": rooms_of[one.event_nid],
            "set_nid": sets[one.servers],
        }
        for one in outbound
    ]
    if rows:
        tx.connection.execute(_INSERT_EVENTS, rows)
    if relayed:
        tx.connection.execute(_DROP_RELAYS, {"ids": list(relayed)})
    store_follower_position(tx, follower, up_to)


def note_relay(tx: Transaction, event_id: str, now_ms: int) -> None:
    """Another server's event, about to be appended, is to be passed on to the others in the room once it is."""
    tx.connection.execute(_NOTE_RELAY, {"event_id": event_id, "noted_ms": now_ms})


def find_relays(connection: Connection, event_ids: Collection[str]) -> set[str]:
    """Those of the events that are to be passed on."""
    found: set[str] = set()
    for some in batched_list(event_ids):
        found.update(connection.execute(_FIND_RELAYS, {"ids": some}).scalars())
    return found


def load_joined_users(connection: Connection, room_id: str) -> JoinedUsers:
    """Everybody in a room, of all servers."""
    user_ids = list(connection.execute(_JOINED, {"room_id": room_id}).scalars())
    return JoinedUsers(user_ids, connection.execute(_CHANGED_AT, {"room_id": room_id}).scalar() or 0)


def delete_sent_events(tx: Transaction, given_up: Collection[str], before_ms: int) -> int:
    """Retention: forget what has arrived everywhere but at servers that are `given_up`; how many rows."""
    deleted = 0
    for set_nid in list(tx.connection.execute(_SETS_IN_USE).scalars()):
        sent = tx.connection.execute(_SENT_OF_SET, {"of_set": set_nid}).all()
        positions = [position for server_name, position in sent if server_name not in given_up]
        up_to = min(positions) if positions else 2**62
        deleted += tx.connection.execute(_DROP_EVENTS, {"of_set": set_nid, "up_to": up_to}).rowcount
    tx.connection.execute(_DROP_MEMBERS)
    tx.connection.execute(_DROP_SETS)
    tx.connection.execute(_DROP_OLD_RELAYS, {"before_ms": before_ms})
    return deleted


def _set_nid(tx: Transaction, servers: frozenset[str]) -> int:
    names = sorted(servers)
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    created: int | None = tx.connection.execute(_INSERT_SET, {"sha256": digest}).scalar()
    if created is None:
        return int(tx.connection.execute(_FIND_SET, {"hash": digest}).scalar_one())
    tx.connection.execute(_INSERT_MEMBERS, [{"server_name": name, "set_nid": created} for name in names])
    return created


def _rooms_of(connection: Connection, nids: Iterable[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for some in batched_list(list(nids)):
        found.update({row.nid: row.room_nid for row in connection.execute(_ROOMS_OF, {"nids": some})})
    return found
