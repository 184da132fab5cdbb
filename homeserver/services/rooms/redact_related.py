"""Redacts an event together with those that relate to it: edits, reactions, a whole thread.

Spec: MSC3912
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.relations import relation_of
from homeserver.services.rooms.append_event import SentTransaction
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.send_event import SendEvent
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.relations import load_related

_PAGE = 100
ANY_RELATION = "*"


class RedactRelated:
    """The use case behind `with_rel_types` of `PUT /redact`."""

    def __init__(self, database: Database, events: EventStore, send: SendEvent) -> None:
        self._database = database
        self._events = events
        self._send = send

    async def redact(
        self,
        sender: str,
        room_id: str,
        event_id: str,
        content: dict[str, Any],
        transaction: SentTransaction,
        rel_types: Collection[str],
    ) -> str:
        """Redact an event as `SendEvent.redact` does, then what relates to it in one of these ways.

        Those that the sender may not redact stay. A repeated transaction goes on where the first one stopped.
        """
        redaction_id = await self._send.redact(sender, room_id, event_id, content, transaction)
        target = await self._events.find(event_id)
        start = None
        while target is not None and rel_types:
            page = await self._database.read(
                load_related,
                [event_id],
                rel_type=None,
                event_type=None,
                start=start,
                forwards=True,
                limit=_PAGE,
            )
            wanted = [stored for stored in page if _is_wanted(stored, target, rel_types)]
            await self._redact_all(sender, room_id, wanted, content, transaction)
            if len(page) < _PAGE:
                break
            start = page[-1].place
        return redaction_id

    async def _redact_all(
        self,
        sender: str,
        room_id: str,
        page: Sequence[StoredEvent],
        content: dict[str, Any],
        transaction: SentTransaction,
    ) -> None:
        """All at once, which makes few commits of them."""
        results = await asyncio.gather(
            *(
                self._send.redact(
                    sender,
                    room_id,
                    stored.event_id,
                    content,
                    SentTransaction(
                        transaction.device_id,
                        f"redact/{room_id}/{stored.event_id}",
                        transaction.transaction_id,
                    ),
                )
                for stored in page
            ),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException) and not _is_forbidden(result):
                raise result


def _is_wanted(stored: StoredEvent, target: StoredEvent, rel_types: Collection[str]) -> bool:
    """Spec: client-server-api #validity-of-replacement-events"""
    relation = relation_of(stored.event.content)
    if relation is None or stored.redacted_by is not None or stored.event.room_id != target.event.room_id:
        return False
    if relation.rel_type == "m.replace" and stored.event.sender != target.event.sender:
        return False
    return ANY_RELATION in rel_types or relation.rel_type in rel_types


def _is_forbidden(error: BaseException) -> bool:
    return isinstance(error, MatrixError) and error.status == 403
