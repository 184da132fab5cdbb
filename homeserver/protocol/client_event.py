"""The forms in which clients get events: the client event format, and stripped state.

Spec: client-server-api #room-event-format, #stripped-state
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.events import Event


def to_client_event(event: Event, *, with_room_id: bool = True) -> dict[str, Any]:
    """The client format of an event: nothing of the federation format but what clients know.

    `unsigned` holds only `redacted_because`; what depends on the time or on the reader is added where it is served.
    `with_room_id=False` is for responses that imply the room, such as /sync.
    """
    client_event: dict[str, Any] = {
        "content": event.content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "sender": event.sender,
        "type": event.type,
    }
    if with_room_id:
        client_event["room_id"] = event.room_id
    if event.state_key is not None:
        client_event["state_key"] = event.state_key
    if event.redacts is not None:
        # Clients may look in either place, whatever the room version.
        client_event["redacts"] = event.redacts
        client_event["content"] = {**event.content, "redacts": event.redacts}
    if event.redacted_because is not None:
        because = to_client_event(event.redacted_because, with_room_id=with_room_id)
        client_event["unsigned"] = {"redacted_because": because}
    return client_event


def to_stripped_state(event: Event) -> dict[str, Any]:
    """A state event as people outside the room get it, with an invite or a knock."""
    return {"content": event.content, "sender": event.sender, "state_key": event.state_key or "", "type": event.type}
