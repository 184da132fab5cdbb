"""What the rooms half of federation needs of the other half: requests to servers, checks of signatures.

`FederationClient` and `KeyRing` fit; so does a simulated network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from homeserver.protocol.events import Event

Query: TypeAlias = Mapping[str, str | Sequence[str]]


class ServerClient(Protocol):
    """Requests to other servers. Methods return the JSON value of an answer 200.

    They raise RemoteServerError when the server refuses, ServerUnreachable when there is no answer.
    """

    async def get(
        self, destination: str, path: str, query: Query | None = None, *, timeout_ms: int | None = None
    ) -> Any: ...
    async def put(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any],
        query: Query | None = None,
        *,
        timeout_ms: int | None = None,
        attempts: int = 1,
    ) -> Any: ...
    async def post(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any],
        query: Query | None = None,
        *,
        timeout_ms: int | None = None,
    ) -> Any: ...


class SignatureFailure(NamedTuple):
    """Why an event is not taken for signed. `may_pass_later`: the key could not be asked for just now."""

    reason: str
    may_pass_later: bool = False


class SignatureChecks(Protocol):
    """Checks of the signatures on events."""

    async def signature_failures(self, events: Sequence[Event]) -> dict[str, SignatureFailure]:
        """Those of the events that lack a required signature, by event ID with the reason."""
