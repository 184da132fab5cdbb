"""The port through which the core uses other servers; federation implements it.

Without federation the null implementation answers that nobody else is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from homeserver.protocol.errors import MatrixError, forbidden, not_found
from homeserver.protocol.events import Event


@dataclass(frozen=True, slots=True)
class RemoteAlias:
    """What another server says its alias points at."""

    room_id: str
    servers: tuple[str, ...]


class RemoteServers(Protocol):
    """What the core asks of other servers. All methods raise MatrixError when the other side refuses or is away."""

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Join a local user to a room through one of the servers in it."""

    async def leave(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        """Leave a room, or reject an invite to one, that no other local user is in."""

    async def knock(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Knock on a room through one of the servers in it."""

    async def invite(self, event: Event, stripped_state: Sequence[Mapping[str, Any]]) -> Event:
        """Have the invited user's server sign an invite; returns the event with that signature."""

    async def find_alias(self, alias: str) -> RemoteAlias | None:
        """Resolve an alias of another server."""

    async def fetch_profile(self, user_id: str, field: str | None) -> Mapping[str, Any]:
        """The profile of another server's user, or one field of it."""

    async def fetch_public_rooms(self, server_name: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Another server's public room directory."""

    async def backfill(self, room_id: str, limit: int) -> bool:
        """Fetch history before the oldest events known here; True when there is more of it now."""


class NoRemoteServers:
    """What the core asks when federation is off."""

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        raise not_found("This server does not know this room, and federation is off.")

    async def leave(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        raise not_found("This server does not know this room, and federation is off.")

    async def knock(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        raise not_found("This server does not know this room, and federation is off.")

    async def invite(self, event: Event, stripped_state: Sequence[Mapping[str, Any]]) -> Event:
        raise forbidden("Users of other servers cannot be invited: federation is off.")

    async def find_alias(self, alias: str) -> RemoteAlias | None:
        return None

    async def fetch_profile(self, user_id: str, field: str | None) -> Mapping[str, Any]:
        raise not_found("Profiles of other servers cannot be looked up: federation is off.")

    async def fetch_public_rooms(self, server_name: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise MatrixError("M_UNKNOWN", "Directories of other servers cannot be read: federation is off.", 502)

    async def backfill(self, room_id: str, limit: int) -> bool:
        return False
