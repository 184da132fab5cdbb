"""Room aliases and the public room directory.

Spec: client-server-api #room-aliases, #published-room-directory
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import orjson

from homeserver.protocol.errors import MatrixError, forbidden, invalid_param, not_found
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.events import StateKey
from homeserver.protocol.identifiers import check_room_alias, server_name_of
from homeserver.protocol.power_levels import PowerLevels
from homeserver.runtime.clock import Clock
from homeserver.services.remote_servers import RemoteServers
from homeserver.services.rooms.append_event import AppendEvent
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Room, Rooms
from homeserver.storage.database import Database
from homeserver.storage.network_rooms import Network, publish_in_network
from homeserver.storage.room_summaries import RoomSummary, load_published, load_summaries, publish_room
from homeserver.storage.rooms import add_alias, find_alias, load_aliases, remove_alias

_CANONICAL: StateKey = ("m.room.canonical_alias", "")
_DECISIVE: tuple[StateKey, ...] = (("m.room.power_levels", ""), ("m.room.create", ""))
_LARGEST_PAGE = 500


class DirectoryGate(Protocol):
    """What plugins have to say of aliases and of publishing rooms."""

    async def check_alias(self, user_id: str, alias: str, room_id: str) -> None: ...
    async def check_publishing(self, user_id: str, room_id: str) -> None: ...


class AliasMakers(Protocol):
    """Whoever may make rooms that are asked for by alias: application services."""

    async def make_alias(self, alias: str) -> bool:
        """Whether somebody has just made an alias that did not exist. Raises MatrixError (408) without an answer."""

    def check_alias(self, alias: str, appservice_id: str | None) -> None:
        """Raises M_EXCLUSIVE for an alias that belongs to somebody else."""

    def manages_alias(self, alias: str, appservice_id: str | None) -> bool:
        """Whether whoever asks has full control over an alias."""


class NoAliasMakers:
    """A server without application services."""

    async def make_alias(self, alias: str) -> bool:
        return False

    def check_alias(self, alias: str, appservice_id: str | None) -> None:
        """All aliases are free."""

    def manages_alias(self, alias: str, appservice_id: str | None) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class DirectoryPage:
    """A page of the public directory; the tokens are None where there is nothing further."""

    rooms: Sequence[RoomSummary]
    next_batch: str | None
    total: int


@dataclass(frozen=True, slots=True)
class FoundAlias:
    """What an alias points at, and servers through which the room can be joined."""

    room_id: str
    servers: Sequence[str]


class RoomDirectory:
    """The use cases behind `/directory` and `/publicRooms`."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        append: AppendEvent,
        remote: RemoteServers,
        gate: DirectoryGate,
        clock: Clock,
        server_name: str,
        makers: AliasMakers | None = None,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._append = append
        self._remote = remote
        self._gate = gate
        self._makers = makers or NoAliasMakers()
        self._clock = clock
        self._server_name = server_name

    async def find(self, alias: str) -> FoundAlias:
        """Resolve an alias, ours or another server's. Raises M_NOT_FOUND, M_INVALID_PARAM."""
        check_room_alias(alias)
        if server_name_of(alias) != self._server_name:
            remote = await self._remote.find_alias(alias)
            if remote is None:
                raise not_found(f"Nobody knows a room by the name {alias}.")
            return FoundAlias(remote.room_id, remote.servers)
        found = await self._database.read(find_alias, alias)
        if found is None and await self._makers.make_alias(alias):
            found = await self._database.read(find_alias, alias)
        if found is None:
            raise not_found(f"There is no room by the name {alias}.")
        room = await self._rooms.find(found.room_id)
        return FoundAlias(found.room_id, servers_in(room, self._server_name))

    def check_free(self, localpart: str, appservice_id: str | None) -> None:
        """M_EXCLUSIVE for the alias of a new room that belongs to an application service."""
        self._makers.check_alias(f"#{localpart}:{self._server_name}", appservice_id)

    async def add(self, user_id: str, alias: str, room_id: str, *, appservice_id: str | None = None) -> None:
        """Give a room another name. Raises M_INVALID_PARAM, M_EXCLUSIVE, and M_UNKNOWN (409) when it is taken."""
        check_room_alias(alias)
        if server_name_of(alias) != self._server_name:
            raise invalid_param(f"Only aliases ending in :{self._server_name} can be made here.")
        self._makers.check_alias(alias, appservice_id)
        room = await self._rooms.get(room_id)
        if room.local_members.get(user_id) != "join":
            raise forbidden("You are not in this room.")
        await self._gate.check_alias(user_id, alias, room_id)
        if not await self._database.write(add_alias, alias, room_id, user_id, self._clock.now_ms()):
            raise MatrixError("M_UNKNOWN", f"{alias} is the alias of a room already.", 409)

    async def remove(self, user_id: str, alias: str, *, is_admin: bool, appservice_id: str | None = None) -> None:
        """Take an alias away: allowed to whoever made it, to the room's moderators and to administrators.

        Aliases that an application service has reserved are its own affair. Raises M_EXCLUSIVE.
        """
        check_room_alias(alias)
        if not is_admin:
            self._makers.check_alias(alias, appservice_id)
        is_admin = is_admin or self._makers.manages_alias(alias, appservice_id)
        found = await self._database.read(find_alias, alias)
        if found is None:
            raise not_found(f"There is no room by the name {alias}.")
        room = await self._rooms.find(found.room_id)
        if not (is_admin or found.creator == user_id or (room is not None and await self._may_rename(room, user_id))):
            raise forbidden("Only whoever made this alias or may rename the room can remove it.")
        await self._database.write(remove_alias, alias)
        if room is not None and await self._may_rename(room, user_id):
            await self._drop_canonical(room, user_id, alias)

    async def aliases_of(self, room_id: str) -> list[str]:
        """The local aliases of a room."""
        return [found.alias for found in await self._database.read(load_aliases, room_id)]

    async def is_published(self, room_id: str) -> bool:
        """Whether a room is in the public directory. Raises M_NOT_FOUND."""
        found = await self._database.read(load_summaries, [room_id])
        if room_id not in found:
            raise not_found("This server does not know this room.")
        return found[room_id].published

    async def publish(self, user_id: str, room_id: str, published: bool, *, is_admin: bool) -> None:
        """Put a room into the public directory or take it out, as someone who may rename it."""
        room = await self._rooms.get(room_id)
        if not is_admin and not await self._may_rename(room, user_id):
            raise forbidden("You need the power to set the room's main alias for this.")
        if published:
            await self._gate.check_publishing(user_id, room_id)
        await self._database.write(publish_room, room_id, published)

    async def published(
        self,
        *,
        limit: int | None,
        since: str | None,
        term: str | None = None,
        room_types: list[str | None] | None = None,
        network: Network | None = None,
        all_networks: bool = False,
    ) -> DirectoryPage:
        """A page of the public directory, or of a third-party network's, largest rooms first."""
        size = min(limit or _LARGEST_PAGE, _LARGEST_PAGE)
        after = _parse_page_token(since) if since else None
        listed = partial(load_published, network=network, all_networks=all_networks)
        found = await self._database.read(listed, term=term, room_types=room_types, after=after, limit=size + 1)
        page = found[:size]
        more = _page_token(page[-1]) if len(found) > size and page else None
        total = await self._database.read(listed, term=None, room_types=None, after=None, limit=10_000)
        return DirectoryPage(page, more, len(total))

    async def publish_in_network(self, network: Network, room_id: str, visible: bool) -> None:
        """Put a room into the directory of a third-party network or take it out. M_NOT_FOUND.

        Spec: application-service-api #published-room-directories
        """
        if not await self._database.write(publish_in_network, network, room_id, visible):
            raise not_found("This server does not know this room.")

    async def remote_published(self, server_name: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Another server's directory, as it answers."""
        return await self._remote.fetch_public_rooms(server_name, request)

    def is_local(self, server_name: str | None) -> bool:
        """Whether a `server` parameter means this server."""
        return server_name is None or server_name == self._server_name

    async def _may_rename(self, room: Room, user_id: str) -> bool:
        if room.local_members.get(user_id) != "join":
            return False
        state = await self._events.get_state(room.state, _DECISIVE)
        return PowerLevels.of(state, room.version).may_send(user_id, "m.room.canonical_alias", is_state=True)

    async def _drop_canonical(self, room: Room, user_id: str, alias: str) -> None:
        state = await self._events.get_state(room.state, [_CANONICAL])
        if _CANONICAL not in state:
            return
        content = dict(state[_CANONICAL].content)
        others = content.get("alt_aliases")
        if content.get("alias") != alias and (not isinstance(others, list) or alias not in others):
            return
        if content.get("alias") == alias:
            del content["alias"]
        if isinstance(others, list):
            content["alt_aliases"] = [name for name in others if name != alias]
        draft = EventDraft(room.room_id, _CANONICAL[0], user_id, content, state_key="")
        await self._append.append(room.room_id, lambda _: [draft])


def servers_in(room: Room | None, own_name: str) -> list[str]:
    """Servers with members in a room, ours first, at most a handful."""
    servers = {own_name: None}
    if room is not None:
        for event_type, state_key in room.state:
            if event_type == "m.room.member" and ":" in state_key:
                servers.setdefault(server_name_of(state_key))
            if len(servers) >= 20:
                break
    return list(servers)


def _page_token(last: RoomSummary) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([last.joined_members, last.room_id])).decode().rstrip("=")


def _parse_page_token(token: str) -> tuple[int, str]:
    try:
        size, room_id = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(size), str(room_id)
    except (ValueError, TypeError, binascii.Error):
        raise invalid_param("This token did not come from this directory.") from None


__all__ = ["DirectoryGate", "DirectoryPage", "FoundAlias", "Network", "RoomDirectory", "RoomSummary", "servers_in"]
