"""Sends messages, state and redactions for local users.

Spec: client-server-api #sending-events-to-a-room
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy.exc import IntegrityError

from homeserver.protocol.errors import MatrixError, bad_json, forbidden, not_found
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.relations import relation_of
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.services.rooms.append_event import AppendEvent, SentTransaction
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room, Rooms
from homeserver.storage import relations
from homeserver.storage.database import Database
from homeserver.storage.events import find_transaction
from homeserver.storage.rooms import find_alias

_REMEMBERED_TRANSACTIONS = 20_000
_NOT_SENT_BY_HAND = frozenset({"m.room.create"})


class EventGate(Protocol):
    """What plugins have to say of an event before anything is locked or written."""

    async def check_event(self, draft: EventDraft, room: Room) -> EventDraft:
        """The draft as it is to be sent. Raises MatrixError to refuse it."""


class MemberEvents(Protocol):
    """Sends m.room.member events, which have rules of their own."""

    async def change(
        self, sender: str, room_id: str, target: str, content: dict[str, Any], *, timestamp_ms: int | None = None
    ) -> str: ...


class SendEvent:
    """The use cases behind `PUT /send`, `PUT /state` and `PUT /redact`."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        append: AppendEvent,
        gate: EventGate,
        members: MemberEvents,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._append = append
        self._gate = gate
        self._members = members
        self._sent: BoundedCache[tuple[str, SentTransaction], str] = BoundedCache(
            "transactions", _REMEMBERED_TRANSACTIONS
        )

    def forget_transactions(self) -> None:
        """Remember no transaction but in the database."""
        self._sent.clear()

    async def send_message(
        self,
        sender: str,
        room_id: str,
        event_type: str,
        content: dict[str, Any],
        transaction: SentTransaction | None,
        *,
        timestamp_ms: int | None = None,
    ) -> str:
        """Send a message event and return its id; the same id again for a repeated transaction.

        Raises M_FORBIDDEN, M_NOT_FOUND for an unknown room, M_DUPLICATE_ANNOTATION, M_TOO_LARGE.
        """
        if event_type == "m.room.redaction":
            target = content.get("redacts")
            if not isinstance(target, str):
                raise bad_json("A redaction needs the id of the event to redact in `redacts`.")
            rest = {key: value for key, value in content.items() if key != "redacts"}
            draft = EventDraft(room_id, event_type, sender, rest, redacts=target)
        else:
            draft = EventDraft(room_id, event_type, sender, content)
        return await self._send(draft, transaction, timestamp_ms)

    async def redact(
        self, sender: str, room_id: str, event_id: str, content: dict[str, Any], transaction: SentTransaction | None
    ) -> str:
        """Take away the content of an event. Raises M_NOT_FOUND when the room has no such event."""
        target = await self._events.find(event_id)
        if target is None or target.event.room_id != room_id:
            raise not_found("There is no such event in this room.")
        rest = {key: value for key, value in content.items() if key != "redacts"}
        draft = EventDraft(room_id, "m.room.redaction", sender, rest, redacts=event_id)
        return await self._send(draft, transaction, None)

    async def set_state(
        self,
        sender: str,
        room_id: str,
        event_type: str,
        state_key: str,
        content: dict[str, Any],
        *,
        transaction: SentTransaction | None = None,
        timestamp_ms: int | None = None,
    ) -> str:
        """Send a state event and return its id; the id of the current one when nothing would change."""
        if event_type in _NOT_SENT_BY_HAND:
            raise forbidden("A room has only one create event.")
        if event_type == MEMBER:
            return await self._members.change(sender, room_id, state_key, content, timestamp_ms=timestamp_ms)
        room = await self._rooms.get(room_id)
        if event_type == "m.room.canonical_alias":
            await self._check_aliases(room, content)
        unchanged = await self._find_same(room, sender, event_type, state_key, content)
        if unchanged is not None:
            return unchanged
        draft = EventDraft(room_id, event_type, sender, content, state_key=state_key)
        return await self._send(draft, transaction, timestamp_ms)

    async def _send(self, draft: EventDraft, transaction: SentTransaction | None, timestamp_ms: int | None) -> str:
        if transaction is not None:
            known = self._sent.find((draft.sender, transaction))
            if known is not None:
                return known
        assert draft.room_id is not None
        room = await self._rooms.get(draft.room_id)
        if draft.sender not in room.local_members:
            raise forbidden("You are not in this room.")
        await self._check_annotation(draft)
        draft = await self._gate.check_event(draft, room)
        try:
            written = await self._append.append(
                room.room_id, lambda _: [draft], transaction=transaction, timestamp_ms=timestamp_ms
            )
        except IntegrityError:
            repeated = await self._find_repeated(draft.sender, transaction)
            if repeated is None:
                raise
            return repeated
        event_id = written[0].event_id
        if transaction is not None:
            self._sent.put((draft.sender, transaction), event_id)
        return event_id

    async def _find_repeated(self, sender: str, transaction: SentTransaction | None) -> str | None:
        if transaction is None:
            return None
        return await self._database.read(
            find_transaction, sender, transaction.device_id, transaction.scope, transaction.transaction_id
        )

    async def _check_annotation(self, draft: EventDraft) -> None:
        relation = relation_of(draft.content)
        if relation is None or relation.rel_type != "m.annotation" or relation.key is None:
            return
        given = await self._database.read(
            relations.has_annotation, relation.event_id, draft.type, draft.sender, relation.key
        )
        if given:
            raise MatrixError("M_DUPLICATE_ANNOTATION", "You have reacted to this event with this already.", 400)

    async def _find_same(
        self, room: Room, sender: str, event_type: str, state_key: str, content: Mapping[str, Any]
    ) -> str | None:
        current = room.state_id(event_type, state_key)
        if current is None or sender not in room.local_members:
            return None
        stored = await self._events.find(current)
        same = stored is not None and stored.event.sender == sender and stored.event.content == content
        return current if same else None

    async def _check_aliases(self, room: Room, content: Mapping[str, Any]) -> None:
        """Aliases that are new in a canonical alias event must point at the room.

        Spec: client-server-api #mroomcanonical_alias
        """
        alias, others = content.get("alias"), content.get("alt_aliases", [])
        if not isinstance(others, list) or not all(isinstance(name, str) for name in others):
            raise bad_json("`alt_aliases` must be a list of room aliases.")
        if alias is not None and not isinstance(alias, str):
            raise bad_json("`alias` must be a room alias.")
        known: set[Any] = set()
        current = room.state_id("m.room.canonical_alias")
        stored = await self._events.find(current) if current is not None else None
        if stored is not None:
            known = {stored.event.content.get("alias"), *stored.event.content.get("alt_aliases", [])}
        for name in [*([alias] if alias else []), *others]:
            if name in known:
                continue
            if not name.startswith("#") or ":" not in name:
                raise MatrixError("M_INVALID_PARAM", f"{name!r} is not a room alias.", 400)
            found = await self._database.read(find_alias, name)
            if found is None or found.room_id != room.room_id:
                raise MatrixError("M_BAD_ALIAS", f"{name} does not point at this room.", 400)
