"""The tree of a space: rooms here, and rooms that only other servers know.

Spec: client-server-api #viewing-the-rooms-of-a-space
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.protocol.errors import forbidden, invalid_param
from homeserver.protocol.spaces import order_of, via_of
from homeserver.services.remote_servers import RemoteServers, RemoteTree
from homeserver.services.rooms.summaries import RoomSummaries

_LARGEST_PAGE = 50
_DEEPEST = 10
_MOST_ROOMS = 2_000
_MOST_QUESTIONS = 25
_LONGEST_S = 20


@dataclass(frozen=True, slots=True)
class TreePage:
    """A page of a space's rooms, depth first; `next_batch` is None on the last one."""

    rooms: Sequence[Mapping[str, Any]]
    next_batch: str | None


@dataclass(slots=True)
class _Walk:
    """How a tree is walked, the same for all of its pages; and how long and often other servers may still be asked."""

    user_id: str
    suggested_only: bool
    max_depth: int
    ends_at: float
    questions_left: int = _MOST_QUESTIONS


@dataclass(frozen=True, slots=True)
class _Node:
    """A room as it is shown, with its children in order; `told` is who told of it, if another server did."""

    shown: Mapping[str, Any]
    children: Sequence[Mapping[str, Any]] = field(default=())
    told: RemoteTree | None = None


class SpaceTree:
    """The use case behind `/hierarchy`."""

    def __init__(self, summaries: RoomSummaries, remote: RemoteServers) -> None:
        self._summaries = summaries
        self._remote = remote

    async def page(
        self, user_id: str, room_id: str, *, suggested_only: bool, max_depth: int | None, limit: int, start: str | None
    ) -> TreePage:
        """A page of the rooms of a space. Raises M_FORBIDDEN, M_INVALID_PARAM for a token of another walk."""
        depth = min(_DEEPEST if max_depth is None else max_depth, _DEEPEST)
        walk = _Walk(user_id, suggested_only, depth, asyncio.get_running_loop().time() + _LONGEST_S)
        skipped = _parse_token(start, walk) if start is not None else 0
        size = max(1, min(limit, _LARGEST_PAGE))
        root = await self._find(walk, room_id, (), None)
        if root is None:
            raise forbidden("You may not see this room.")
        found = await self._walk(root, walk, skipped + size + 1)
        more = len(found) > skipped + size
        return TreePage(found[skipped : skipped + size], _token(skipped + size, walk) if more else None)

    async def _walk(self, root: _Node, walk: _Walk, enough: int) -> list[Mapping[str, Any]]:
        """Rooms in the order of the tree, each once; at most `enough`."""
        found: list[Mapping[str, Any]] = []
        waiting: list[tuple[_Node | None, Mapping[str, Any], RemoteTree | None, int]] = [(root, {}, None, 0)]
        seen = {root.shown["room_id"]}
        while waiting and len(found) < min(enough, _MOST_ROOMS):
            known, link, told, depth = waiting.pop()
            node = known or await self._find(walk, link["state_key"], via_of(link["content"]), told)
            if node is None:
                continue
            found.append(node.shown)
            if depth >= walk.max_depth:
                continue
            new = [child for child in node.children if child["state_key"] not in seen]
            seen.update(child["state_key"] for child in new)
            waiting.extend((None, child, node.told, depth + 1) for child in reversed(new))
        return found

    async def _find(self, walk: _Walk, room_id: str, via: Sequence[str], told: RemoteTree | None) -> _Node | None:
        """A room the user may see: from here, from what the server of its space told, or from a server in `via`."""
        room = await self._summaries.find_known(room_id)
        if room is not None:
            if not await self._summaries.may_see(walk.user_id, room):
                return None
            children = await self._summaries.children(room, suggested_only=walk.suggested_only)
            shown = await self._summaries.with_children(room, children)
            return _Node(shown, shown["children_state"])
        if told is not None:
            if room_id in told.inaccessible:
                return None
            summary = told.children.get(room_id)
            if summary is not None and summary.get("room_type") != "m.space":
                return await self._visible(walk, _Node({**summary, "children_state": []}))
        return await self._ask(walk, room_id, via)

    async def _ask(self, walk: _Walk, room_id: str, via: Sequence[str]) -> _Node | None:
        if walk.questions_left <= 0:
            return None
        walk.questions_left -= 1
        try:
            async with asyncio.timeout_at(walk.ends_at):
                tree = await self._remote.fetch_tree(room_id, via, suggested_only=walk.suggested_only)
        except TimeoutError:
            return None
        if tree is None:
            return None
        children = sorted(tree.room["children_state"], key=_order)
        if walk.suggested_only:
            children = [child for child in children if child["content"].get("suggested") is True]
        return await self._visible(walk, _Node({**tree.room, "children_state": children}, children, tree))

    async def _visible(self, walk: _Walk, node: _Node) -> _Node | None:
        return node if await self._summaries.may_see_remote(walk.user_id, node.shown) else None


def _order(child: Mapping[str, Any]) -> tuple[bool, str, int, str]:
    order = order_of(child["content"])
    return (order is None, order or "", child["origin_server_ts"], child["state_key"])


def _token(skipped: int, walk: _Walk) -> str:
    return f"{skipped}_{walk.max_depth}_{int(walk.suggested_only)}"


def _parse_token(token: str, walk: _Walk) -> int:
    parts = token.split("_")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 8 for part in parts):
        raise invalid_param("This token did not come from this list.")
    if token != _token(int(parts[0]), walk):
        raise invalid_param("`suggested_only` and `max_depth` must stay the same on all pages.")
    return int(parts[0])
