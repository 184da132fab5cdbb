"""Whether this server may let a user of another one into a room that members of certain other rooms may join.

Spec: server-server-api #restricted-rooms
"""

from __future__ import annotations

from homeserver.protocol.errors import MatrixError, forbidden
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.power_levels import PowerLevels
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room, Rooms
from homeserver_federation.rooms.joined_servers import is_resident

_CREATE: StateKey = ("m.room.create", "")
_POWER_LEVELS: StateKey = ("m.room.power_levels", "")
_JOIN_RULES: StateKey = ("m.room.join_rules", "")


class RestrictedJoins:
    """Judges joins by the rooms a user is in."""

    def __init__(self, rooms: Rooms, events: EventStore) -> None:
        self._rooms = rooms
        self._events = events

    async def authorisation(self, room: Room, user_id: str) -> dict[str, str]:
        """What the join must carry: a member of ours who could have invited the user; empty where nothing is needed.

        Raises M_FORBIDDEN, M_UNABLE_TO_AUTHORISE_JOIN, M_UNABLE_TO_GRANT_JOIN.
        """
        if not room.version.auth.restricted_joins:
            return {}
        own: StateKey = (MEMBER, user_id)
        state = await self._events.get_state(room.state, [_CREATE, _POWER_LEVELS, _JOIN_RULES, own])
        if own in state and state[own].membership in {"join", "invite"}:
            return {}
        rules = state.get(_JOIN_RULES)
        restricted = {"restricted", "knock_restricted"} if room.version.auth.knock_restricted_joins else {"restricted"}
        if rules is None or rules.content.get("join_rule") not in restricted:
            return {}
        await self._check_conditions(rules, user_id)
        levels = PowerLevels.of(state, room.version)
        for member, membership in room.local_members.items():
            if membership == "join" and levels.of_user(member) >= levels.invite:
                return {"join_authorised_via_users_server": member}
        raise MatrixError("M_UNABLE_TO_GRANT_JOIN", "Nobody on this server can let you into this room.", 400)

    async def _check_conditions(self, rules: Event, user_id: str) -> None:
        allowed = rules.content.get("allow")
        conditions = [
            condition
            for condition in (allowed if isinstance(allowed, list) else [])
            if isinstance(condition, dict) and condition.get("type") == "m.room_membership"
        ]
        can_check = False
        for condition in conditions:
            other = await self._rooms.find(str(condition.get("room_id")))
            if other is None or not is_resident(other):
                continue
            can_check = True
            event_id = other.state_id(MEMBER, user_id)
            stored = await self._events.find(event_id) if event_id is not None else None
            if stored is not None and stored.event.membership == "join":
                return
        if conditions and not can_check:
            raise MatrixError(
                "M_UNABLE_TO_AUTHORISE_JOIN", "This server is in none of the rooms whose members may join.", 400
            )
        raise forbidden("Only members of certain other rooms may join this room.")
