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


@dataclass(frozen=True, slots=True)
class RemoteTree:
    """What another server tells of a room: its summary with `children_state`, and what it knows of the children.

    `children` are summaries by room ID; `inaccessible` are those that nobody here may see, whomever one asks.
    """

    room: Mapping[str, Any]
    children: Mapping[str, Mapping[str, Any]]
    inaccessible: frozenset[str]


@dataclass(frozen=True, slots=True)
class EventInTime:
    """An event, and when it was sent."""

    event_id: str
    origin_server_ts: int


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

    async def fetch_tree(self, room_id: str, via: Sequence[str], *, suggested_only: bool) -> RemoteTree | None:
        """What the first server that knows a room tells of it and its children; never raises."""

    async def find_event_in_time(self, room_id: str, timestamp_ms: int, *, forwards: bool) -> EventInTime | None:
        """The event nearest to a time, as other servers know it, if the history here has gaps; never raises."""


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

    async def fetch_tree(self, room_id: str, via: Sequence[str], *, suggested_only: bool) -> RemoteTree | None:
        return None

    async def find_event_in_time(self, room_id: str, timestamp_ms: int, *, forwards: bool) -> EventInTime | None:
        return None
