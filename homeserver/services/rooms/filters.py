"""Applies a client's event filter to stored events.

Spec: client-server-api #filtering
"""

from __future__ import annotations

from collections.abc import Collection

from homeserver.protocol.sync_filters import EventFilter
from homeserver.storage.events import StoredEvent


def accepts(wanted: EventFilter, stored: StoredEvent, ignored: Collection[str] = ()) -> bool:
    """Whether a filter lets an event through. State events of ignored users are shown all the same.

    Spec: client-server-api #ignoring-users
    """
    event = stored.event
    if event.sender in ignored and event.state_key is None:
        return False
    if wanted.accepts_every_event:
        return True
    return wanted.accepts(event.type, event.sender, event.room_id, event.content)
