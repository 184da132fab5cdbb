"""Implements the core's `RemoteServers`: everything the core does with rooms of other servers.

Spec: server-server-api
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from homeserver.protocol.errors import not_found
from homeserver.protocol.events import Event
from homeserver.services.remote_servers import EventInTime, RemoteAlias, RemoteTree
from homeserver_federation.remote_trees import RemoteTrees
from homeserver_federation.rooms.backfill import Backfill
from homeserver_federation.rooms.events_in_time import EventsInTime
from homeserver_federation.rooms.invite import InviteToRoom
from homeserver_federation.rooms.join import JoinRoom
from homeserver_federation.rooms.knock import KnockOnRoom
from homeserver_federation.rooms.leave import LeaveRoom


class Directory(Protocol):
    """Aliases and directories of other servers; raises MatrixError."""

    async def find_alias(self, alias: str) -> RemoteAlias | None: ...
    async def fetch_public_rooms(self, server_name: str, request: Mapping[str, Any]) -> Mapping[str, Any]: ...


class Profiles(Protocol):
    """Profiles of other servers' users."""

    async def fetch_profile(self, user_id: str, field: str | None = None) -> Mapping[str, Any] | None: ...


class FederatedServers:
    """Passes each request on to the part that does it.

    The core is built with this object, and the parts are built on the core: they are handed in by `attach`, before
    the server starts.
    """

    def __init__(self) -> None:
        self._join: JoinRoom
        self._leave: LeaveRoom
        self._knock: KnockOnRoom
        self._invite: InviteToRoom
        self._backfill: Backfill
        self._directory: Directory
        self._profiles: Profiles
        self._trees: RemoteTrees
        self._in_time: EventsInTime

    def attach(
        self,
        join: JoinRoom,
        leave: LeaveRoom,
        knock: KnockOnRoom,
        invite: InviteToRoom,
        backfill: Backfill,
        directory: Directory,
        profiles: Profiles,
        trees: RemoteTrees,
        in_time: EventsInTime,
    ) -> None:
        """Hand in the parts."""
        self._join = join
        self._leave = leave
        self._knock = knock
        self._invite = invite
        self._backfill = backfill
        self._directory = directory
        self._profiles = profiles
        self._trees = trees
        self._in_time = in_time

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Join a local user to a room through one of the servers in it."""
        await self._join.join(user_id, room_id, via, content)

    async def leave(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        """Leave a room, or reject an invite to one, that no other local user is in."""
        await self._leave.leave(user_id, room_id, content)

    async def knock(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Knock on a room through one of the servers in it."""
        await self._knock.knock(user_id, room_id, via, content)

    async def invite(self, event: Event, stripped_state: Sequence[Mapping[str, Any]]) -> Event:
        """Have the invited user's server sign an invite; what it is shown of the room are PDUs, chosen here."""
        return await self._invite.invite(event)

    async def find_alias(self, alias: str) -> RemoteAlias | None:
        """Resolve an alias of another server."""
        return await self._directory.find_alias(alias)

    async def fetch_profile(self, user_id: str, field: str | None) -> Mapping[str, Any]:
        """The profile of another server's user, or one field of it."""
        profile = await self._profiles.fetch_profile(user_id, field)
        if profile is None:
            raise not_found(f"There is no profile of {user_id}, or their server does not answer.")
        return profile

    async def fetch_public_rooms(self, server_name: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Another server's public room directory."""
        return await self._directory.fetch_public_rooms(server_name, request)

    async def backfill(self, room_id: str, limit: int) -> bool:
        """Fetch history before the oldest events known here; True when there is more of it now."""
        return await self._backfill.backfill(room_id, limit)

    async def fetch_tree(self, room_id: str, via: Sequence[str], *, suggested_only: bool) -> RemoteTree | None:
        """What the first server that knows a room tells of it and its children."""
        return await self._trees.fetch(room_id, via, suggested_only=suggested_only)

    async def find_event_in_time(self, room_id: str, timestamp_ms: int, *, forwards: bool) -> EventInTime | None:
        """The event nearest to a time, as other servers know it, if the history here has gaps."""
        return await self._in_time.find(room_id, timestamp_ms, forwards=forwards)
