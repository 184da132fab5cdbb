"""The token service that clients of MatrixRTC ask before they connect to LiveKit.
Who asks is proved by an OpenID token of their own server; only users of this server have rooms made for them.

Spec: MSC4195
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.plugin_api import (
    Auth,
    JsonValue,
    MatrixError,
    PluginContext,
    RemoteFailure,
    Request,
    bad_json,
    endpoint,
    forbidden,
    missing_param,
    unknown,
)
from homeserver.protocol.identifiers import server_name_of
from homeserver_plugins.livekit.settings import LiveKitSettings
from homeserver_plugins.livekit.tokens import LiveKitKey, pseudonym, room_alias

BASE_PATH = "/_matrix/livekit/jwt"
_ROOM_CALL = "m.call#ROOM"
_CREATE_ROOM = "/twirp/livekit.RoomService/CreateRoom"
_CREATE_TOKEN_MS = 60_000
_TIMEOUT_S = 10.0
_LARGEST_ANSWER = 65_536
_LARGEST_BODY = 16_384
_LONGEST_TEXT = 512


class TokenService:
    """Answers `/sfu/get` (Element Call to this day) and `/get_token` (MSC4195)."""

    def __init__(self, context: PluginContext, settings: LiveKitSettings) -> None:
        self._context = context
        self._settings = settings
        self._key = LiveKitKey(settings.api_key, settings.api_secret.reveal())

    @endpoint(
        "POST",
        [BASE_PATH + "/sfu/get", "/sfu/get"],
        auth=Auth.NONE,
        limit="oauth_token",
        body=dict,
        max_body_bytes=_LARGEST_BODY,
    )
    async def get_sfu(self, request: Request, body: dict[str, Any]) -> JsonValue:
        """A token for the call of a room; the participant is named by user and device."""
        user_id = await self._proved_user(body)
        identity = f"{user_id}:{_text(body, 'device_id')}"
        return await self._admit(user_id, identity, _text(body, "room"), _ROOM_CALL)

    @endpoint(
        "POST",
        [BASE_PATH + "/get_token", "/get_token"],
        auth=Auth.NONE,
        limit="oauth_token",
        body=dict,
        max_body_bytes=_LARGEST_BODY,
    )
    async def get_token(self, request: Request, body: dict[str, Any]) -> JsonValue:
        """A token for one slot of a room; the participant goes by a pseudonym."""
        member = _object(body, "member")
        claimed = _text(member, "claimed_user_id")
        user_id = await self._proved_user(body)
        if claimed != user_id:
            raise forbidden("The OpenID token is not that of `member.claimed_user_id`.")
        identity = pseudonym(user_id, _text(member, "claimed_device_id"), _text(member, "id"))
        return await self._admit(user_id, identity, _text(body, "room_id"), _text(body, "slot_id"))

    async def _proved_user(self, body: Mapping[str, Any]) -> str:
        proof = _object(body, "openid_token")
        return await self._context.openid.user_of(_text(proof, "matrix_server_name"), _text(proof, "access_token"))

    async def _admit(self, user_id: str, identity: str, room_id: str, slot_id: str) -> JsonValue:
        is_local = server_name_of(user_id) == self._context.server_name
        if self._settings.require_membership:
            await self._check_joined(user_id, room_id)
        room = room_alias(room_id, slot_id)
        if is_local:
            await self._create_room(room)
        now_ms = self._context.clock.now_ms()
        token = self._key.join_token(identity, room, now_ms, int(self._settings.token_lifetime))
        return {"url": self._settings.url, "jwt": token}

    async def _check_joined(self, user_id: str, room_id: str) -> None:
        try:
            room = await self._context.rooms.view(room_id)
        except MatrixError:
            room = None
        member = None if room is None else await room.find_state("m.room.member", user_id)
        if member is None or member.membership != "join":
            raise forbidden("Only people who have joined the room may call in it.")

    async def _create_room(self, room: str) -> None:
        """Make the room; LiveKit leaves one that exists as it is."""
        token = self._key.create_token(room, self._context.clock.now_ms(), _CREATE_TOKEN_MS)
        wanted = {
            "name": room,
            "empty_timeout": int(self._settings.empty_timeout) // 1000,
            "departure_timeout": int(self._settings.departure_timeout) // 1000,
        }
        try:
            answer = await self._context.http.request(
                "POST",
                self._settings.api + _CREATE_ROOM,
                json=wanted,
                headers={"authorization": f"Bearer {token}"},
                timeout_s=_TIMEOUT_S,
                max_bytes=_LARGEST_ANSWER,
            )
        except RemoteFailure as failure:
            self._context.log.warning("LiveKit cannot be reached", reason=str(failure))
            raise unknown("LiveKit does not answer.", 502) from failure
        if answer.status != 200:
            self._context.log.warning("LiveKit makes no room", status=answer.status)
            raise unknown("LiveKit makes no room for this call.", 502)


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if value is None:
        raise missing_param(f"`{key}` is missing.")
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT:
        raise bad_json(f"`{key}` must be a string of 1 to {_LONGEST_TEXT} characters.")
    return value


def _object(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = body.get(key)
    if value is None:
        raise missing_param(f"`{key}` is missing.")
    if not isinstance(value, dict):
        raise bad_json(f"`{key}` must be an object.")
    return value
