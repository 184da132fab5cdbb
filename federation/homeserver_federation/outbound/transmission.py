"""Sends one transaction, and says what became of it.

Spec: server-server-api #put_matrixfederationv1sendtxnid
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from homeserver.storage.events import load_events_by_nid
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError, ServerUnreachable

if TYPE_CHECKING:
    from homeserver.storage.database import Database
    from homeserver.storage.outbound_transactions import OutboundTransaction
    from homeserver_federation.client import FederationClient

_log = structlog.get_logger("homeserver.federation.outbound")
_TIMEOUT_MS = 120_000  # the other side may have to fetch what is missing before it answers
_MOST_ANSWER_BYTES = 1024 * 1024


class Transmission:
    """Puts a planned transaction together and over the wire."""

    def __init__(self, client: FederationClient, database: Database) -> None:
        self._client = client
        self._database = database

    async def send(self, server_name: str, transaction: OutboundTransaction) -> bool:
        """Whether the server has taken it. A failure counts for the pauses the server is given."""
        pdus = await self._pdus_of(transaction)
        body = {
            "origin": self._client.server_name,
            "origin_server_ts": transaction.created_ms,
            "pdus": pdus,
            "edus": list(transaction.edus),
        }
        path = federation_path("v1", "send", transaction.transaction_id)
        try:
            answer = await self._client.put(
                server_name, path, body, timeout_ms=_TIMEOUT_MS, max_bytes=_MOST_ANSWER_BYTES
            )
        except FederationError as error:
            _log.info("transaction not delivered", server=server_name, reason=str(error))
            if not isinstance(error, ServerUnreachable):  # those have been counted
                await self._client.back_off.failed(server_name)
            return False
        _log_refusals(server_name, answer)
        return True

    async def _pdus_of(self, transaction: OutboundTransaction) -> list[dict[str, Any]]:
        if not transaction.event_nids:
            return []
        stored = await self._database.read(load_events_by_nid, transaction.event_nids)
        by_nid = {one.nid: one.event.pdu for one in stored}
        return [
            {key: value for key, value in by_nid[nid].items() if key != "unsigned"}
            for nid in transaction.event_nids
            if nid in by_nid
        ]


def _log_refusals(server_name: str, answer: Any) -> None:
    pdus = answer.get("pdus") if isinstance(answer, dict) else None
    for event_id, result in pdus.items() if isinstance(pdus, dict) else ():
        if isinstance(result, dict) and result.get("error"):
            _log.info("event refused", server=server_name, event_id=event_id, reason=str(result["error"])[:500])
