"""Transactions: many PDUs and EDUs at once, each transaction once.

Spec: server-server-api #put_matrixfederationv1sendtxnid
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from homeserver.protocol.edus import MAX_EDUS_PER_TRANSACTION, MAX_PDUS_PER_TRANSACTION
from homeserver.protocol.errors import MatrixError, bad_json
from homeserver.protocol.identifiers import is_room_id
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver_federation.inbound.receive_edus import ReceiveEdus
from homeserver_federation.inbound.receive_pdu import Received, ReceivePdu

_REMEMBERED_TRANSACTIONS = 5_000
_MOST_ROOMS_AT_ONCE = 5


class ReceiveTransaction:
    """Takes transactions apart. A repeated one gets the answer it got before, or waits for the one under way."""

    def __init__(self, pdus: ReceivePdu, edus: ReceiveEdus) -> None:
        self._pdus = pdus
        self._edus = edus
        self._under_way: dict[tuple[str, str], asyncio.Task[dict[str, Any]]] = {}
        self._answers: BoundedCache[tuple[str, str], dict[str, Any]] = BoundedCache(
            "received_transactions", _REMEMBERED_TRANSACTIONS
        )
        self._origins: dict[str, _Origin] = {}

    async def receive(self, origin: str, transaction_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a transaction, with one result for each PDU. Raises M_BAD_JSON, M_TOO_LARGE."""
        key = (origin, transaction_id)
        known = self._answers.find(key)
        if known is not None:
            return known
        task = self._under_way.get(key)
        if task is None:
            pdus, edus = _parts_of(body)
            # A task of its own: a server that hangs up and tries again finds the first try going on.
            task = asyncio.create_task(self._process(origin, pdus, edus))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._finish(key, done))
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """Give up what is under way; other servers send again what was not answered."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _finish(self, key: tuple[str, str], done: asyncio.Task[dict[str, Any]]) -> None:
        self._under_way.pop(key, None)
        if not done.cancelled() and done.exception() is None:
            self._answers.put(key, done.result())

    async def _process(
        self, origin: str, pdus: Sequence[Mapping[str, Any]], edus: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        by_room: dict[str, list[Mapping[str, Any]]] = {}
        for pdu in pdus:
            room_id = _room_id_of(pdu)
            if room_id is not None:
                by_room.setdefault(room_id, []).append(pdu)
        received: dict[str, Received] = {}

        async def receive_room(room_id: str, some: list[Mapping[str, Any]]) -> None:
            async with self._slot(origin):
                received.update(await self._pdus.receive(origin, room_id, some))

        async with asyncio.TaskGroup() as group:
            group.create_task(self._edus.receive(origin, edus))
            for room_id, some in by_room.items():
                group.create_task(receive_room(room_id, some))
        return {"pdus": {event_id: _result(outcome) for event_id, outcome in received.items()}}

    @asynccontextmanager
    async def _slot(self, origin: str) -> AsyncIterator[None]:
        """One of the few rooms that are worked on for a server at the same time."""
        state = self._origins.setdefault(origin, _Origin())
        state.users += 1
        try:
            async with state.slots:
                yield
        finally:
            state.users -= 1
            if not state.users:
                self._origins.pop(origin, None)


class _Origin:
    __slots__ = ("slots", "users")

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(_MOST_ROOMS_AT_ONCE)
        self.users = 0


def _parts_of(body: Mapping[str, Any]) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    pdus, edus = body.get("pdus", []), body.get("edus", [])
    if not isinstance(pdus, list) or not isinstance(edus, list):
        raise bad_json("The `pdus` and `edus` of a transaction are lists.")
    if len(pdus) > MAX_PDUS_PER_TRANSACTION or len(edus) > MAX_EDUS_PER_TRANSACTION:
        raise MatrixError(
            "M_TOO_LARGE",
            f"A transaction has at most {MAX_PDUS_PER_TRANSACTION} PDUs and {MAX_EDUS_PER_TRANSACTION} EDUs.",
            400,
        )
    return [pdu for pdu in pdus if isinstance(pdu, dict)], [edu for edu in edus if isinstance(edu, dict)]


def _room_id_of(pdu: Mapping[str, Any]) -> str | None:
    room_id = pdu.get("room_id")
    return room_id if isinstance(room_id, str) and is_room_id(room_id) else None


def _result(received: Received) -> dict[str, Any]:
    return {} if received.dropped is None else {"error": received.dropped}
