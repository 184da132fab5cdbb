"""Rooms as other servers show them: their summaries and those of their children, remembered for a while.

Spec: server-server-api #spaces
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from homeserver.protocol.identifiers import is_room_id, is_server_name, is_user_id
from homeserver.protocol.spaces import is_valid_child
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.runtime.clock import Clock
from homeserver.services.remote_servers import RemoteTree
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError
from homeserver_federation.ports import ServerClient

_TEXTS = ("name", "topic", "avatar_url", "canonical_alias", "join_rule", "room_type", "encryption", "room_version")
_FLAGS = ("guest_can_join", "world_readable")
_MOST_SERVERS = 5
_MOST_CHILDREN = 500
_MOST_REMEMBERED = 10_000
_LONGEST_TEXT = 10_000
_REMEMBERED_MS = 60_000
_TIMEOUT_MS = 10_000


class RemoteTrees:
    """Asks servers for a portion of a space's tree."""

    def __init__(self, client: ServerClient, clock: Clock, server_name: str) -> None:
        self._client = client
        self._clock = clock
        self._server_name = server_name
        self._remembered: BoundedCache[tuple[str, bool], tuple[int, RemoteTree]] = BoundedCache(
            "remote_trees", _MOST_REMEMBERED, lambda entry: 1 + len(entry[1].children)
        )

    async def fetch(self, room_id: str, via: Iterable[str], *, suggested_only: bool) -> RemoteTree | None:
        """What the first of the servers that knows the room tells; None when none does."""
        key, now_ms = (room_id, suggested_only), self._clock.now_ms()
        remembered = self._remembered.find(key)
        if remembered is not None and remembered[0] > now_ms:
            return remembered[1]
        servers = [name for name in dict.fromkeys(via) if is_server_name(name) and name != self._server_name]
        path = federation_path("v1", "hierarchy", room_id)
        query = {"suggested_only": "true" if suggested_only else "false"}
        for server in servers[:_MOST_SERVERS]:
            try:
                answer = await self._client.get(server, path, query, timeout_ms=_TIMEOUT_MS)
            except FederationError:
                continue
            tree = parse_tree(room_id, answer)
            if tree is not None:
                self._remembered.put(key, (now_ms + _REMEMBERED_MS, tree))
                return tree
        return None


def parse_tree(room_id: str, answer: object) -> RemoteTree | None:
    """What an answer tells of a room; None when that is nothing usable."""
    if not isinstance(answer, dict):
        return None
    room = _summary(answer.get("room"))
    if room is None or room["room_id"] != room_id:
        return None
    room["children_state"] = [child for child in _list(answer["room"].get("children_state")) if _is_child(child)]
    children = [summary for summary in map(_summary, _list(answer.get("children"))) if summary is not None]
    inaccessible = [id_ for id_ in _list(answer.get("inaccessible_children")) if isinstance(id_, str)]
    return RemoteTree(room, {child["room_id"]: child for child in children}, frozenset(inaccessible))


def _summary(told: object) -> dict[str, Any] | None:
    """What is known to belong into a summary, of the types that clients expect."""
    if not isinstance(told, dict) or not isinstance(told.get("room_id"), str) or not is_room_id(told["room_id"]):
        return None
    members = told.get("num_joined_members")
    shown: dict[str, Any] = {
        "room_id": told["room_id"],
        "num_joined_members": members if type(members) is int and members >= 0 else 0,
        **{key: told.get(key) is True for key in _FLAGS},
    }
    for key in _TEXTS:
        value = told.get(key)
        if isinstance(value, str) and len(value) <= _LONGEST_TEXT:
            shown[key] = value
    allowed = told.get("allowed_room_ids")
    if isinstance(allowed, list):
        shown["allowed_room_ids"] = [id_ for id_ in allowed[:_MOST_CHILDREN] if isinstance(id_, str)]
    return shown


def _is_child(event: object) -> bool:
    if not isinstance(event, dict) or event.get("type") != "m.space.child":
        return False
    content: object = event.get("content")
    if not isinstance(content, Mapping) or not is_valid_child(content):
        return False
    key, sender = event.get("state_key"), event.get("sender")
    if not isinstance(key, str) or not is_room_id(key) or not isinstance(sender, str) or not is_user_id(sender):
        return False
    return type(event.get("origin_server_ts")) is int


def _list(value: object) -> Sequence[Any]:
    return value[:_MOST_CHILDREN] if isinstance(value, list) else ()
