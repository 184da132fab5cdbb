"""The search index in the database: FTS5 in SQLite, a GIN index over term vectors in PostgreSQL.

Both get ready terms from `services/search`, so that they find the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, column, delete, func, insert, select, text

from homeserver.storage.database import Transaction
from homeserver.storage.events import batched_list
from homeserver.storage.tables.rooms import rooms
from homeserver.storage.tables.search import search_entries

KINDS = {"content.body": 0, "content.name": 1, "content.topic": 2}
_MOST_ROOM_TERMS = 200
_MOST_COUNTED = 1_000
_NEWEST = 2**62
# A private letter that no user's term begins with: both databases take it for part of a word.
_ROOM_MARK = "\ue000"


class Entry(NamedTuple):
    """One event's findable text."""

    event_nid: int
    room_id: str
    kind: int
    terms: Sequence[str]


class SearchQuery(NamedTuple):
    """Entries of these rooms that have all `terms` (each with whether longer ones count, too)."""

    terms: Sequence[tuple[str, bool]]
    room_ids: Sequence[str]
    kinds: Collection[int]


class Hit(NamedTuple):
    """A row number of `events`, and how well it fits: higher is better."""

    event_nid: int
    rank: float


_KNOWN = select(search_entries.c.event_nid).where(search_entries.c.event_nid.in_(bindparam("nids", expanding=True)))
_ROOM_NIDS = select(rooms.c.room_id, rooms.c.nid).where(rooms.c.room_id.in_(bindparam("ids", expanding=True)))
_INSERT = insert(search_entries)
_SELECT_TERMS = select(search_entries.c.event_nid, search_entries.c.terms).where(
    search_entries.c.event_nid.in_(bindparam("nids", expanding=True))
)
_DELETE = delete(search_entries).where(search_entries.c.event_nid.in_(bindparam("nids", expanding=True)))
_INSERT_WORDS = text("INSERT INTO search_words (rowid, terms) VALUES (:event_nid, :terms)")
_DELETE_WORDS = text("INSERT INTO search_words (search_words, rowid, terms) VALUES ('delete', :event_nid, :terms)")

_VECTOR = "array_to_tsvector(string_to_array(terms, ' '))"
_FROM = {
    "sqlite": (
        "FROM search_words JOIN search_entries ON search_entries.event_nid = search_words.rowid"
        " WHERE search_words MATCH :words AND search_words.rowid < :before"
    ),
    "postgresql": f"FROM search_entries WHERE {_VECTOR} @@ CAST(:words AS tsquery) AND event_nid < :before",
}
_RANK = {"sqlite": "-bm25(search_words)", "postgresql": f"ts_rank({_VECTOR}, CAST(:words AS tsquery))"}
_FILTER = " AND search_entries.kind IN :kinds AND search_entries.room_nid IN :rooms"


def add_entries(tx: Transaction, entries: Sequence[Entry]) -> None:
    """Make events findable; those that are already stay as they are."""
    known: set[int] = set()
    for nids in batched_list([entry.event_nid for entry in entries]):
        known.update(tx.connection.execute(_KNOWN, {"nids": nids}).scalars())
    room_nids = _room_nids(tx.connection, {entry.room_id for entry in entries})
    rows = [
        {
            "event_nid": entry.event_nid,
            "room_nid": room_nids[entry.room_id],
            "kind": entry.kind,
            "terms": " ".join([f"{_ROOM_MARK}{room_nids[entry.room_id]}", *entry.terms]),
        }
        for entry in entries
        if entry.event_nid not in known
    ]
    if not rows:
        return
    tx.connection.execute(_INSERT, rows)
    if tx.connection.dialect.name == "sqlite":
        words = [{"event_nid": row["event_nid"], "terms": row["terms"]} for row in rows]
        tx.connection.execute(_INSERT_WORDS, words)


def remove_entries(tx: Transaction, event_nids: Collection[int]) -> None:
    """Make events no longer findable."""
    for nids in batched_list(event_nids):
        if tx.connection.dialect.name == "sqlite":
            found = [row._asdict() for row in tx.connection.execute(_SELECT_TERMS, {"nids": nids})]
            if found:
                tx.connection.execute(_DELETE_WORDS, found)
        tx.connection.execute(_DELETE, {"nids": nids})


def find_newest(connection: Connection, query: SearchQuery, before: int | None, limit: int) -> list[Hit]:
    """The newest matches before a row number, newest first."""
    values = _values(connection, query) | {"before": before or _NEWEST, "limit": limit}
    statement = _statement(connection, "search_entries.event_nid DESC LIMIT :limit")
    return [Hit(nid, rank) for nid, rank in connection.execute(statement, values)]


def find_best(connection: Connection, query: SearchQuery, offset: int, limit: int) -> list[Hit]:
    """The best matches after so many better ones."""
    values = _values(connection, query) | {"before": _NEWEST, "limit": limit, "offset": offset}
    statement = _statement(connection, "fit DESC, search_entries.event_nid DESC LIMIT :limit OFFSET :offset")
    return [Hit(nid, rank) for nid, rank in connection.execute(statement, values)]


def count_matches(connection: Connection, query: SearchQuery) -> int:
    """How many matches there are; a thousand stands for that or more."""
    dialect = connection.dialect.name
    matches = text(f"SELECT 1 AS one {_FROM[dialect]}{_FILTER} LIMIT :most").bindparams(*_lists())
    statement = select(func.count()).select_from(matches.columns(column("one")).subquery())
    values = _values(connection, query) | {"before": _NEWEST, "most": _MOST_COUNTED}
    return int(connection.execute(statement, values).scalar_one())


def _statement(connection: Connection, order: str) -> Any:
    dialect = connection.dialect.name
    chosen = f"SELECT search_entries.event_nid, {_RANK[dialect]} AS fit {_FROM[dialect]}{_FILTER} ORDER BY {order}"
    return text(chosen).bindparams(*_lists())


def _lists() -> list[Any]:
    return [bindparam("kinds", expanding=True), bindparam("rooms", expanding=True)]


def _values(connection: Connection, query: SearchQuery) -> dict[str, Any]:
    nids = list(_room_nids(connection, query.room_ids).values())
    words = _words(query, nids if len(nids) <= _MOST_ROOM_TERMS else [], connection.dialect.name)
    return {"words": words, "kinds": list(query.kinds), "rooms": nids}


def _words(query: SearchQuery, room_nids: Sequence[int], dialect: str) -> str:
    """The query in the database's own language. Terms hold letters and digits only, so quoting them is enough."""
    quote, joined_by, either, prefix = ('"', " AND ", " OR ", "*") if dialect == "sqlite" else ("'", " & ", " | ", ":*")
    wanted = [f"{quote}{term}{quote}{prefix if is_prefix else ''}" for term, is_prefix in query.terms]
    if room_nids:
        marked = either.join(f"{quote}{_ROOM_MARK}{nid}{quote}" for nid in room_nids)
        wanted.append(f"({marked})")
    return joined_by.join(wanted)


def _room_nids(connection: Connection, room_ids: Collection[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for ids in batched_list(room_ids):
        found.update((room_id, nid) for room_id, nid in connection.execute(_ROOM_NIDS, {"ids": ids}))
    return found
