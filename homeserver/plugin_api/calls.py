"""What a plugin for calls provides: credentials for TURN servers.

Spec: client-server-api #get_matrixclientv3voipturnserver
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TurnCredentials:
    """With what, where, and for how many milliseconds a client may relay its calls."""

    username: str
    password: str
    uris: Sequence[str]
    ttl_ms: int


class TurnCredentialSource(Protocol):
    """Hands out TURN credentials."""

    async def credentials_for(self, user_id: str, *, is_guest: bool) -> TurnCredentials | None:
        """Credentials for one user; None if this user gets none."""
