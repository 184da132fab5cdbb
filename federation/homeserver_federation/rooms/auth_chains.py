"""The auth chains of events: all they rest on, recursively.

Spec: server-server-api #auth-chain
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from homeserver.protocol.events import Event
from homeserver.storage.events import StoredEvent, load_events


def load_auth_chain(connection: Connection, starts: Collection[Event]) -> dict[str, StoredEvent]:
    """The auth events of `starts`, theirs, and so on, by ID. `starts` are among them only where others rest on them."""
    chain: dict[str, StoredEvent] = {}
    level = {auth_id for event in starts for auth_id in event.auth_event_ids}
    while level:
        found = load_events(connection, level)
        chain.update(found)
        level = {auth_id for stored in found.values() for auth_id in stored.event.auth_event_ids} - chain.keys()
    return chain
