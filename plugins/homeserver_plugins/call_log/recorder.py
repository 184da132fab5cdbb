"""Reads calls off the events of the log. An event may come twice: everything here can be done again.

Spec: client-server-api #voice-over-ip, MSC3401, MSC4143, MSC4310
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from typing import Any

from homeserver.plugin_api import Event, MatrixError, PluginContext
from homeserver_plugins.call_log.calls import Call
from homeserver_plugins.call_log.log import CallLog

_MEMBER_TYPES = frozenset({"m.call.member", "org.matrix.msc3401.call.member"})
_DECLINE_TYPES = frozenset({"m.rtc.decline", "org.matrix.msc4310.rtc.decline"})
_INVITE, _ANSWER, _REJECT, _HANGUP = "m.call.invite", "m.call.answer", "m.call.reject", "m.call.hangup"
CALL_TYPES = frozenset({_INVITE, _ANSWER, _REJECT, _HANGUP}) | _MEMBER_TYPES | _DECLINE_TYPES
_LIFETIME_MS = 60_000
_MEMBER_LIFETIME_MS = 4 * 3_600_000  # where a membership does not say
_LONGEST_LIFETIME_MS = 7 * 24 * 3_600_000


class CallRecorder:
    """Turns events into calls. Where more than `most_rung` local members are, a call is only listed for its people."""

    def __init__(self, context: PluginContext, log: CallLog, most_rung: int) -> None:
        self._context = context
        self._log = log
        self._most_rung = most_rung

    async def record(self, event: Event) -> None:
        if event.type in _MEMBER_TYPES:
            if event.is_state:
                await self._record_member(event)
        elif event.type in _DECLINE_TYPES:
            await self._record_session_decline(event)
        elif isinstance(event.content.get("call_id"), str):
            await self._record_call(event)

    # Calls of two people

    async def _record_call(self, event: Event) -> None:
        call_id = _id_of(event.room_id, str(event.content["call_id"]))
        call = await self._log.find(call_id)
        if event.type == _INVITE:
            if call is None:
                await self._begin_call(event, call_id)
            return
        if call is None or call.ended_ms is not None:
            return
        now_ms = event.origin_server_ts
        if event.type == _ANSWER and event.sender != call.caller and call.answered_ms is None:
            call.answered_ms = now_ms
            call.enter(call.caller, now_ms)
            call.enter(event.sender, now_ms)
        elif event.type == _REJECT and event.sender != call.caller and call.answered_ms is None:
            call.decline(event.sender)
            call.end(now_ms)
        elif event.type == _HANGUP:
            self._hang_up(call, event)
        await self._log.put(call, self._now_ms)

    def _hang_up(self, call: Call, event: Event) -> None:
        """Clients of the first version hang up where those of today reject."""
        is_party = event.sender == call.caller or event.sender in call.stays
        if call.answered_ms is None and event.sender != call.caller:
            call.decline(event.sender)
            call.end(event.origin_server_ts)
        elif is_party:
            call.end(event.origin_server_ts)

    async def _begin_call(self, event: Event, call_id: str) -> None:
        lifetime_ms = _duration(event.content.get("lifetime"), _LIFETIME_MS)
        call = Call(
            call_id,
            event.room_id,
            "call",
            event.sender,
            event.origin_server_ts,
            is_video=_is_video(event.content),
            lapses_ms=event.origin_server_ts + lifetime_ms,
        )
        people = await self._local_members(event.room_id)
        invitee = event.content.get("invitee")
        if isinstance(invitee, str):
            people = {user_id for user_id in people if user_id in (invitee, event.sender)}
        elif len(people) > self._most_rung:
            people &= {event.sender}
        await self._log.put(call, self._now_ms)
        await self._log.list_for(people, call_id, self._now_ms)

    # Sessions of MatrixRTC

    async def _record_member(self, event: Event) -> None:
        session = await self._log.find_session(event.room_id)
        key = event.state_key or ""
        if not _takes_part(event.content):
            if session is not None and session.ended_ms is None:
                self._leave_session(session, key, event)
                await self._log.put(session, self._now_ms)
            return
        now_ms = event.origin_server_ts
        if session is None or session.end_ms(now_ms) is not None:
            session = await self._begin_session(event)
        session.devices[key] = event.sender
        session.enter(event.sender, now_ms, now_ms + _duration(event.content.get("expires"), _MEMBER_LIFETIME_MS))
        await self._log.put(session, self._now_ms)
        if event.sender in await self._local_members(event.room_id):
            await self._log.list_for([event.sender], session.call_id, self._now_ms)

    def _leave_session(self, session: Call, key: str, event: Event) -> None:
        session.devices.pop(key, None)
        if event.sender not in session.devices.values():
            session.leave(event.sender, event.origin_server_ts)
        if not session.devices:
            session.end(event.origin_server_ts)

    async def _begin_session(self, event: Event) -> Call:
        session = Call(
            _id_of(event.room_id, event.event_id),
            event.room_id,
            "session",
            event.sender,
            event.origin_server_ts,
            is_video=event.content.get("m.call.intent", "video") != "audio",
        )
        known = await self._log.find(session.call_id)
        if known is not None:
            return known
        await self._log.put(session, self._now_ms)
        await self._log.set_session(event.room_id, session.call_id, self._now_ms)
        people = await self._local_members(event.room_id)
        if len(people) <= self._most_rung:
            await self._log.list_for(people, session.call_id, self._now_ms)
        return session

    async def _record_session_decline(self, event: Event) -> None:
        session = await self._log.find_session(event.room_id)
        if session is None or session.ended_ms is not None or event.sender in session.stays:
            return
        session.decline(event.sender)
        await self._log.put(session, self._now_ms)

    @property
    def _now_ms(self) -> int:
        return self._context.clock.now_ms()

    async def _local_members(self, room_id: str) -> set[str]:
        try:
            room = await self._context.rooms.view(room_id)
        except MatrixError:
            return set()
        return {user_id for user_id, membership in room.local_members.items() if membership == "join"}


def _id_of(room_id: str, name: str) -> str:
    digest = hashlib.sha256(f"{room_id} {name}".encode("utf-8", "surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest[:15]).decode("ascii")


def _duration(value: object, default: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return default
    return min(value, _LONGEST_LIFETIME_MS)


def _is_video(content: Any) -> bool:
    offer = content.get("offer")
    sdp = offer.get("sdp") if isinstance(offer, dict) else None
    return isinstance(sdp, str) and "m=video" in sdp


def _takes_part(content: Any) -> bool:
    """An empty membership, or an empty list of them in the older form, says that somebody has left."""
    memberships = content.get("memberships")
    if isinstance(memberships, Collection):
        return bool(memberships)
    return isinstance(content.get("application"), str)
