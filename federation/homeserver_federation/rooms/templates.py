"""Proposes member events to servers that are not in the room: what they have to fill in and sign.

Spec: server-server-api #get_matrixfederationv1make_joinroomiduserid
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from homeserver.protocol.errors import forbidden, incompatible_room_version
from homeserver.protocol.event_auth import authorise
from homeserver.protocol.event_builder import EventDraft, PrevEvent, auth_state_keys, build_pdu
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import check_user_id, server_name_of
from homeserver.runtime.clock import Clock
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room
from homeserver_federation.rooms.access import ServerAccess
from homeserver_federation.rooms.restricted_joins import RestrictedJoins

_CREATE: StateKey = ("m.room.create", "")
_MOST_PREV_EVENTS = 10


class Templates:
    """The use cases behind `/make_join`, `/make_knock` and `/make_leave`."""

    def __init__(
        self,
        events: EventStore,
        access: ServerAccess,
        restricted: RestrictedJoins,
        clock: Clock,
        server_name: str,
    ) -> None:
        self._events = events
        self._access = access
        self._restricted = restricted
        self._clock = clock
        self._server_name = server_name

    async def make(
        self, origin: str, membership: str, room_id: str, user_id: str, versions: Collection[str] | None
    ) -> dict[str, Any]:
        """The answer to a server that wants to change the membership of its user.

        `versions` are those the other server knows, None where it does not matter.
        """
        if server_name_of(check_user_id(user_id)) != origin:
            raise forbidden("The user is not one of your server.")
        room = await self._access.room_for(origin, room_id, must_be_in_it=False)
        if versions is not None and room.version.identifier not in versions:
            raise incompatible_room_version(room.version.identifier)
        if membership == "knock" and not room.version.auth.knocking:
            raise forbidden("This room's version does not know knocking.")
        content: dict[str, Any] = {"membership": membership}
        if membership == "join":
            content.update(await self._restricted.authorisation(room, user_id))
        pdu = await self._build(room, EventDraft(room_id, MEMBER, user_id, content, state_key=user_id))
        return {"event": pdu, "room_version": room.version.identifier}

    async def _build(self, room: Room, draft: EventDraft) -> Mapping[str, Any]:
        keys = auth_state_keys(draft, room.version)
        auth = await self._events.get_state(room.state, keys)
        create = (await self._events.get_state(room.state, [_CREATE])).get(_CREATE)
        newest = sorted(room.extremities, key=lambda extremity: -extremity.depth)[:_MOST_PREV_EVENTS]
        pdu = build_pdu(
            draft,
            room.version,
            prev_events=[PrevEvent(*extremity) for extremity in newest],
            auth_events=list(auth.values()),
            origin_server_ts=self._clock.now_ms(),
        )
        refusal = authorise(Event(pdu, room.version, "$template"), auth, create)
        if refusal is not None:
            raise forbidden(refusal.reason)
        return {**pdu, "origin": self._server_name}
