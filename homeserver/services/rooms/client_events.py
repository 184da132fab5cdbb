"""Events as clients get them: the client format, made once as bytes, with what depends on the reader put around it.

Spec: client-server-api #room-event-format
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from homeserver.protocol.client_event import to_client_event
from homeserver.runtime.clock import Clock
from homeserver.services.rooms.aggregations import Aggregations, EditedEvent
from homeserver.services.rooms.append_event import DELAYED_EVENT
from homeserver.services.rooms.memberships_at_events import MembershipsAtEvents
from homeserver.storage.events import StoredEvent


class Reader(NamedTuple):
    """For whom events are rendered. Only the device that sent an event is told its transaction id."""

    user_id: str
    device_id: str | None = None
    ignored: Collection[str] = ()


class ClientEvents:
    """Renders stored events."""

    def __init__(self, aggregations: Aggregations, memberships: MembershipsAtEvents, clock: Clock) -> None:
        self._aggregations = aggregations
        self._memberships = memberships
        self._clock = clock

    async def render(
        self, events: Sequence[StoredEvent], reader: Reader, *, with_room_id: bool = True
    ) -> list[orjson.Fragment]:
        """The events with their bundled aggregations, in the same order."""
        bundles = await self._aggregations.bundle(events, reader.user_id, reader.ignored)
        memberships = await self._memberships.of(reader.user_id, events)
        now_ms = self._clock.now_ms()
        return [
            orjson.Fragment(
                client_bytes(
                    stored,
                    now_ms,
                    reader,
                    self._relations(bundles.get(stored.event_id), now_ms, reader),
                    membership,
                    with_room_id=with_room_id,
                )
            )
            for stored, membership in zip(events, memberships, strict=True)
        ]

    def render_plain(
        self, events: Sequence[StoredEvent], reader: Reader, *, with_room_id: bool = True
    ) -> list[orjson.Fragment]:
        """The events without aggregations, as state is shown."""
        now_ms = self._clock.now_ms()
        return [orjson.Fragment(client_bytes(stored, now_ms, reader, with_room_id=with_room_id)) for stored in events]

    def _relations(self, bundle: Mapping[str, Any] | None, now_ms: int, reader: Reader) -> dict[str, Any] | None:
        if not bundle:
            return None
        return {name: _rendered(value, now_ms, reader) for name, value in bundle.items()}


def client_bytes(
    stored: StoredEvent,
    now_ms: int,
    reader: Reader | None = None,
    relations: Mapping[str, Any] | None = None,
    membership: str | None = None,
    *,
    with_room_id: bool = True,
) -> bytes:
    """The client format of one event. The part that is the same for everybody is made once and kept."""
    head = stored.client_json
    if head is None:
        head = stored.client_json = _head(stored)
    event = stored.event
    unsigned: dict[str, Any] = {"age": max(0, now_ms - event.origin_server_ts)}
    if stored.redacted_by is not None:
        unsigned["redacted_because"] = to_client_event(stored.redacted_by)
    else:
        for name in ("prev_content", "prev_sender", "replaces_state", "invite_room_state", "knock_room_state"):
            if event.is_state and name in event.unsigned:
                unsigned[name] = event.unsigned[name]
    transaction = stored.transaction
    if transaction is not None and reader is not None and (event.sender, transaction.device_id) == reader[:2]:
        unsigned["transaction_id"] = transaction.transaction_id
    if (
        transaction is not None
        and reader is not None
        and (DELAYED_EVENT, reader.user_id)
        == (
            transaction.device_id,
            event.sender,
        )
    ):
        unsigned["org.matrix.msc4140.delay_id"] = transaction.transaction_id
    if membership is not None:
        unsigned["membership"] = membership
    if relations:
        unsigned["m.relations"] = relations
    room = b'"room_id":' + orjson.dumps(event.room_id) + b"," if with_room_id else b""
    return b"".join((head, room, b'"unsigned":', orjson.dumps(unsigned), b"}"))


def _head(stored: StoredEvent) -> bytes:
    event = stored.event if stored.redacted_by is None else stored.event.redacted()
    shown = to_client_event(event)
    shown.pop("room_id", None)
    shown.pop("unsigned", None)
    return orjson.dumps(shown)[:-1] + b","


def _rendered(value: Any, now_ms: int, reader: Reader) -> Any:
    if isinstance(value, StoredEvent):
        return orjson.Fragment(client_bytes(value, now_ms, reader))
    if isinstance(value, EditedEvent):
        edit = {"m.replace": _rendered(value.edit, now_ms, reader)}
        return orjson.Fragment(client_bytes(value.stored, now_ms, reader, edit))
    if isinstance(value, dict):
        return {name: _rendered(inner, now_ms, reader) for name, inner in value.items()}
    return value
