"""`/room_keys`: backups of room keys.

Spec: client-server-api #server-side-key-backups
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue, invalid_param, not_found
from homeserver.services.devices.key_backups import backed_up_key
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.devices.key_backups import KeyBackups

_VERSION = v3("/room_keys/version")
_THIS_VERSION = v3("/room_keys/version/{version}")
_KEYS = v3("/room_keys/keys")
_ROOM = v3("/room_keys/keys/{roomId}")
_SESSION = v3("/room_keys/keys/{roomId}/{sessionId}")
_LIMIT = "key_upload"
_MOST_BYTES = 16 * 1024 * 1024  # clients upload hundreds of keys at once

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class _BackupBody(msgspec.Struct):
    algorithm: str
    auth_data: dict[str, Any]
    version: str | None = None


class _KeyBody(msgspec.Struct):
    first_message_index: _Count
    forwarded_count: _Count
    is_verified: bool
    session_data: dict[str, Any]


class _RoomBody(msgspec.Struct):
    sessions: dict[str, _KeyBody]


class _RoomsBody(msgspec.Struct):
    rooms: dict[str, _RoomBody]


class KeyBackupApi:
    def __init__(self, backups: KeyBackups) -> None:
        self._backups = backups

    @endpoint("POST", _VERSION, operation="postRoomKeysVersion", limit=_LIMIT, body=_BackupBody)
    async def create_version(self, request: Request, requester: Requester, body: _BackupBody) -> JsonValue:
        return {"version": await self._backups.create(requester.user_id, body.algorithm, body.auth_data)}

    @endpoint("GET", _VERSION, operation="getRoomKeysVersionCurrent")
    async def get_current_version(self, request: Request, requester: Requester) -> JsonValue:
        return await self._backups.current(requester.user_id)

    @endpoint("GET", _THIS_VERSION, operation="getRoomKeysVersion")
    async def get_version(self, request: Request, requester: Requester) -> JsonValue:
        return await self._backups.get(requester.user_id, request.path["version"])

    @endpoint("PUT", _THIS_VERSION, operation="putRoomKeysVersion", limit=_LIMIT, body=_BackupBody)
    async def put_version(self, request: Request, requester: Requester, body: _BackupBody) -> JsonValue:
        version = request.path["version"]
        if body.version is not None and body.version != version:
            raise invalid_param("The version in the body is not the one in the path.")
        await self._backups.update(requester.user_id, version, body.algorithm, body.auth_data)
        return {}

    @endpoint("DELETE", _THIS_VERSION, operation="deleteRoomKeysVersion", limit=_LIMIT)
    async def delete_version(self, request: Request, requester: Requester) -> JsonValue:
        await self._backups.delete(requester.user_id, request.path["version"])
        return {}

    @endpoint("PUT", _KEYS, operation="putRoomKeys", limit=_LIMIT, body=_RoomsBody, max_body_bytes=_MOST_BYTES)
    async def put_keys(self, request: Request, requester: Requester, body: _RoomsBody) -> JsonValue:
        sessions = {room_id: room.sessions for room_id, room in body.rooms.items()}
        return await self._put(request, requester, sessions)

    @endpoint("PUT", _ROOM, operation="putRoomKeysByRoomId", limit=_LIMIT, body=_RoomBody, max_body_bytes=_MOST_BYTES)
    async def put_keys_of_room(self, request: Request, requester: Requester, body: _RoomBody) -> JsonValue:
        return await self._put(request, requester, {request.path["roomId"]: body.sessions})

    @endpoint("PUT", _SESSION, operation="putRoomKeyBySessionId", limit=_LIMIT, body=_KeyBody)
    async def put_key(self, request: Request, requester: Requester, body: _KeyBody) -> JsonValue:
        path = request.path
        return await self._put(request, requester, {path["roomId"]: {path["sessionId"]: body}})

    @endpoint("GET", _KEYS, operation="getRoomKeys")
    async def get_keys(self, request: Request, requester: Requester) -> JsonValue:
        found = await self._backups.keys(requester.user_id, request.query_str("version"))
        return {"rooms": {room_id: {"sessions": sessions} for room_id, sessions in found.items()}}

    @endpoint("GET", _ROOM, operation="getRoomKeysByRoomId")
    async def get_keys_of_room(self, request: Request, requester: Requester) -> JsonValue:
        room_id = request.path["roomId"]
        found = await self._backups.keys(requester.user_id, request.query_str("version"), room_id)
        return {"sessions": found.get(room_id, {})}

    @endpoint("GET", _SESSION, operation="getRoomKeyBySessionId")
    async def get_key(self, request: Request, requester: Requester) -> JsonValue:
        room_id, session_id = request.path["roomId"], request.path["sessionId"]
        found = await self._backups.keys(requester.user_id, request.query_str("version"), room_id, session_id)
        if not found:
            raise not_found("There is no such key in this backup.")
        key: dict[str, Any] = found[room_id][session_id]
        return key

    @endpoint("DELETE", _KEYS, operation="deleteRoomKeys", limit=_LIMIT)
    async def delete_keys(self, request: Request, requester: Requester) -> JsonValue:
        return await self._backups.delete_keys(requester.user_id, request.query_str("version"))

    @endpoint("DELETE", _ROOM, operation="deleteRoomKeysByRoomId", limit=_LIMIT)
    async def delete_keys_of_room(self, request: Request, requester: Requester) -> JsonValue:
        version = request.query_str("version")
        return await self._backups.delete_keys(requester.user_id, version, request.path["roomId"])

    @endpoint("DELETE", _SESSION, operation="deleteRoomKeyBySessionId", limit=_LIMIT)
    async def delete_key(self, request: Request, requester: Requester) -> JsonValue:
        path, version = request.path, request.query_str("version")
        return await self._backups.delete_keys(requester.user_id, version, path["roomId"], path["sessionId"])

    async def _put(
        self, request: Request, requester: Requester, rooms: dict[str, dict[str, _KeyBody]]
    ) -> dict[str, Any]:
        keys = [
            backed_up_key(
                room_id, session_id, key.first_message_index, key.forwarded_count, key.is_verified, key.session_data
            )
            for room_id, sessions in rooms.items()
            for session_id, key in sessions.items()
        ]
        return await self._backups.put_keys(requester.user_id, request.query_str("version"), keys)
