"""`POST /sync`: sliding sync, at the path today's clients use and at the one it was accepted for.

The answer is the same; the two dialects name some of its parts differently.

Spec: MSC4186
"""

from __future__ import annotations

from typing import Any

from homeserver.client_api.sliding_sync_bodies import AcceptedBody, DeployedBody
from homeserver.protocol.errors import invalid_param
from homeserver.services.sliding_sync.request import SlidingAnswer, SlidingRequest
from homeserver.services.sliding_sync.sliding_sync import LONGEST_WAIT_MS, SlidingSync
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

_PRESENCES = ("online", "unavailable", "offline")
_LONGEST_NAME = 255
_DEPLOYED_NAMES = {"stripped_state": "invite_state", "expanded_timeline": "unstable_expanded_timeline"}
_NOT_DEPLOYED = ("membership", "lists", "deleted_state")


class SlidingSyncApi:
    """The endpoint newer clients live on."""

    def __init__(self, sliding_sync: SlidingSync) -> None:
        self._sliding_sync = sliding_sync

    @endpoint(
        "POST",
        "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
        auth=Auth.GUEST_OK,
        body=DeployedBody,
        optional_body=True,
    )
    async def sync_as_deployed(self, request: Request, requester: Requester, body: DeployedBody) -> dict[str, Any]:
        lists, subscriptions = body.parse(requester.user_id)
        wanted = SlidingRequest(
            user_id=requester.user_id,
            device_id=requester.device_id,
            name=_checked_name(body.conn_id),
            pos=request.find_query("pos") or None,
            lists=lists,
            subscriptions=subscriptions,
            extensions=body.extensions.parse(),
            timeout_ms=request.query_int("timeout", 0, minimum=0, maximum=LONGEST_WAIT_MS),
            set_presence=request.query_choice("set_presence", _PRESENCES, "online"),
        )
        answer = await self._sliding_sync.sync(wanted)
        rooms = {room_id: _as_deployed(room) for room_id, room in answer.rooms.items()}
        rendered = _rendered(answer, rooms)
        if body.txn_id is not None:
            rendered["txn_id"] = body.txn_id
        return rendered

    @endpoint("POST", "/_matrix/client/v4/sync", auth=Auth.GUEST_OK, body=AcceptedBody, optional_body=True)
    async def sync_as_accepted(self, request: Request, requester: Requester, body: AcceptedBody) -> dict[str, Any]:
        if body.set_presence not in _PRESENCES:
            raise invalid_param(f"`set_presence` must be one of {', '.join(_PRESENCES)}.")
        lists, subscriptions = body.parse()
        wanted = SlidingRequest(
            user_id=requester.user_id,
            device_id=requester.device_id,
            name=_checked_name(body.conn_id),
            pos=body.pos or None,
            lists=lists,
            subscriptions=subscriptions,
            extensions=body.extensions.parse(),
            timeout_ms=min(body.timeout, LONGEST_WAIT_MS),
            set_presence=body.set_presence,
            wants_counts=False,
        )
        answer = await self._sliding_sync.sync(wanted)
        return _rendered(answer, {room_id: _as_accepted(room) for room_id, room in answer.rooms.items()})


def _rendered(answer: SlidingAnswer, rooms: dict[str, Any]) -> dict[str, Any]:
    lists = {name: {"count": count} for name, count in answer.lists.items()}
    return {"pos": answer.pos, "lists": lists, "rooms": rooms, "extensions": answer.extensions}


def _as_deployed(room: dict[str, Any]) -> dict[str, Any]:
    return {_DEPLOYED_NAMES.get(name, name): value for name, value in room.items() if name not in _NOT_DEPLOYED}


def _as_accepted(room: dict[str, Any]) -> dict[str, Any]:
    deleted = room.pop("deleted_state", None)
    if deleted:
        room["required_state"] = [*room.get("required_state", ()), *deleted]
    return room


def _checked_name(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        raise invalid_param(f"`conn_id` may have at most {_LONGEST_NAME} characters.")
    return name
