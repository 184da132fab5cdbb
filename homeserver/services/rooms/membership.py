"""Joins, leaves, invitations, kicks, bans and knocks.

Spec: client-server-api #room-membership
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from homeserver.protocol.errors import MatrixError, bad_json, forbidden, invalid_param
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import is_user_id, server_name_of
from homeserver.protocol.power_levels import PowerLevels
from homeserver.services.remote_servers import RemoteServers
from homeserver.services.rooms.append_event import AppendEvent
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room, Rooms, unknown_room
from homeserver.services.rooms.send_event import EventGate
from homeserver.storage.database import Database
from homeserver.storage.memberships import find_membership, forget_room, load_memberships

_CREATE: StateKey = ("m.room.create", "")
_POWER_LEVELS: StateKey = ("m.room.power_levels", "")
_JOIN_RULES: StateKey = ("m.room.join_rules", "")
_GUEST_ACCESS: StateKey = ("m.room.guest_access", "")
# A restricted join that this server cannot let in may be let in by another one in the room.
_FOR_OTHERS_TO_GRANT = frozenset({"M_UNABLE_TO_AUTHORISE_JOIN", "M_UNABLE_TO_GRANT_JOIN"})
_PROFILE_KEYS = ("displayname", "avatar_url")


class ShownProfile(Protocol):
    """What of a profile is copied into member events."""

    @property
    def displayname(self) -> str | None: ...
    @property
    def avatar_url(self) -> str | None: ...


class ProfileSource(Protocol):
    """Where member events get names and pictures from."""

    async def get(self, user_id: str) -> ShownProfile: ...


class InvitePermissions(Protocol):
    """Says who does not want to be invited."""

    async def blocks_invites(self, user_id: str) -> bool: ...


class InvitedUsers(Protocol):
    """Hears of local users who are about to be invited: application services may want to make them first."""

    async def expect_user(self, user_id: str) -> None: ...


class MembershipService:
    """Changes who is in a room."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        append: AppendEvent,
        profiles: ProfileSource,
        remote: RemoteServers,
        gate: EventGate,
        permissions: InvitePermissions,
        server_name: str,
        *,
        forget_on_leave: bool = False,
        invited: InvitedUsers | None = None,
    ) -> None:
        self._invited = invited
        self._database = database
        self._rooms = rooms
        self._events = events
        self._append = append
        self._profiles = profiles
        self._remote = remote
        self._gate = gate
        self._permissions = permissions
        self._forget_on_leave = forget_on_leave
        self._server_name = server_name

    # What users do

    async def join(
        self,
        user_id: str,
        room_id: str,
        *,
        via: Sequence[str] = (),
        content: Mapping[str, Any] | None = None,
        is_guest: bool = False,
    ) -> None:
        """Join a local user to a room. Joining a room one is in already does nothing.

        Raises M_FORBIDDEN, M_NOT_FOUND, M_UNABLE_TO_AUTHORISE_JOIN, M_UNABLE_TO_GRANT_JOIN.
        """
        content = {**(content or {}), "membership": "join", **await self._shown(user_id)}
        room = await self._rooms.find(room_id)
        if room is None or not self._is_resident(room):
            await self._remote.join(user_id, room_id, via, content)
            return
        if room.local_members.get(user_id) == "join":
            return
        if is_guest:
            await self._check_guest_access(room)
        try:
            content.update(await self._authorisation_of_join(room, user_id))
        except MatrixError as error:
            if error.errcode not in _FOR_OTHERS_TO_GRANT or not self._has_other_servers(room):
                raise
            await self._remote.join(user_id, room_id, via, content)
            return
        await self._send(user_id, room, user_id, content)

    async def leave(self, user_id: str, room_id: str, reason: str | None = None) -> None:
        """Leave a room, reject an invitation or take back a knock."""
        content = _with_reason({"membership": "leave"}, reason)
        room = await self._rooms.find(room_id)
        if room is None:
            raise unknown_room()
        if not self._is_resident(room):
            await self._remote.leave(user_id, room_id, content)
            return
        current = await self.membership_of(room, user_id)
        if current == "leave":
            return
        await self._send(user_id, room, user_id, content)
        if self._forget_on_leave:
            await self._database.write(forget_room, room_id, user_id)

    async def invite(
        self,
        sender: str,
        room_id: str,
        target: str,
        reason: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Invite a user. Raises M_FORBIDDEN for users who are in the room or banned from it."""
        if not is_user_id(target):
            raise invalid_param(f"{target!r} is not a user id.")
        room = await self._rooms.get(room_id)
        self._check_joined(room, sender)
        current = await self.membership_of(room, target)
        if current == "join":
            raise forbidden(f"{target} is in the room already.")
        if current == "ban":
            raise forbidden(f"{target} is banned from this room.")
        if self._invited is not None and server_name_of(target) == self._server_name:
            await self._invited.expect_user(target)
        content = _with_reason({**(extra or {}), "membership": "invite", **await self._shown(target)}, reason)
        await self._send(sender, room, target, content)

    async def kick(self, sender: str, room_id: str, target: str, reason: str | None = None) -> None:
        """Make a user leave. Raises M_FORBIDDEN when they are not in the room, or too powerful."""
        room = await self._rooms.get(room_id)
        self._check_joined(room, sender)
        if await self.membership_of(room, target) not in {"join", "invite", "knock"}:
            raise forbidden(f"{target} is not in the room.")
        await self._send(sender, room, target, _with_reason({"membership": "leave"}, reason))

    async def ban(self, sender: str, room_id: str, target: str, reason: str | None = None) -> None:
        """Make a user leave and keep them out."""
        if not is_user_id(target):
            raise invalid_param(f"{target!r} is not a user id.")
        room = await self._rooms.get(room_id)
        self._check_joined(room, sender)
        content = _with_reason({"membership": "ban"}, reason)
        await self._send(sender, room, target, content)

    async def unban(self, sender: str, room_id: str, target: str, reason: str | None = None) -> None:
        """Let a banned user come back. Raises M_FORBIDDEN when they are not banned."""
        room = await self._rooms.get(room_id)
        self._check_joined(room, sender)
        if await self.membership_of(room, target) != "ban":
            raise forbidden(f"{target} is not banned from this room.")
        await self._send(sender, room, target, _with_reason({"membership": "leave"}, reason))

    async def knock(self, user_id: str, room_id: str, *, via: Sequence[str] = (), reason: str | None = None) -> None:
        """Ask to be let in."""
        content = _with_reason({"membership": "knock", **await self._shown(user_id)}, reason)
        room = await self._rooms.find(room_id)
        if room is None or not self._is_resident(room):
            await self._remote.knock(user_id, room_id, via, content)
            return
        if not room.version.auth.knocking:
            raise forbidden("This room's version does not know knocking.")
        await self._send(user_id, room, user_id, content)

    async def forget(self, user_id: str, room_id: str) -> None:
        """Take a room out of a user's sight for good. Raises M_UNKNOWN while they are still in it."""
        found = await self._database.read(find_membership, room_id, user_id)
        if found is None:
            raise unknown_room()
        if found.membership in {"join", "invite", "knock"}:
            raise MatrixError("M_UNKNOWN", "Leave the room before you forget it.", 400)
        await self._database.write(forget_room, room_id, user_id)

    async def change(
        self, sender: str, room_id: str, target: str, content: dict[str, Any], *, timestamp_ms: int | None = None
    ) -> str:
        """Send a member event as a client wrote it: `PUT /state/m.room.member/{userId}`."""
        membership = content.get("membership")
        if not isinstance(membership, str):
            raise bad_json("A member event needs a `membership`.")
        room = await self._rooms.get(room_id)
        if membership == "invite" and await self.membership_of(room, target) in {"join", "ban"}:
            raise forbidden(f"{target} cannot be invited: they are in the room or banned from it.")
        if membership == "join" and sender == target:
            if room.local_members.get(target) != "join":
                content = {**content, **await self._authorisation_of_join(room, target)}
            else:
                content = {key: value for key, value in content.items() if key != "join_authorised_via_users_server"}
        return await self._send(sender, room, target, content, timestamp_ms)

    # What other services need

    async def profile_changed(self, user_id: str, profile: ShownProfile) -> None:
        """Show a new name or picture in all rooms the user is in."""
        shown = {name: value for name in _PROFILE_KEYS if (value := getattr(profile, name)) is not None}
        for membership in await self._database.read(load_memberships, user_id):
            if membership.membership != "join":
                continue
            room = await self._rooms.get(membership.room_id)
            stored = await self._events.find(membership.event_id)
            old = dict(stored.event.content) if stored is not None else {}
            kept = {
                key: old[key]
                for key in old
                if key not in {*_PROFILE_KEYS, "join_authorised_via_users_server", "reason"}
            }
            content = {**kept, **shown, "membership": "join"}
            if content != old:
                await self._send(user_id, room, user_id, content)

    async def leave_all_rooms(self, user_id: str) -> None:
        """Leave every room and reject every invitation, as deactivated users do."""
        for membership in await self._database.read(load_memberships, user_id):
            if membership.membership in {"join", "invite", "knock"}:
                await self.leave(user_id, membership.room_id)

    async def membership_of(self, room: Room, user_id: str) -> str:
        """A user's membership in the room's current state; "leave" for one who never was there."""
        event_id = room.state_id(MEMBER, user_id)
        stored = await self._events.find(event_id) if event_id is not None else None
        return (stored.event.membership or "leave") if stored is not None else "leave"

    # How it is done

    async def _send(
        self, sender: str, room: Room, target: str, content: Mapping[str, Any], timestamp_ms: int | None = None
    ) -> str:
        draft = EventDraft(room.room_id, MEMBER, sender, dict(content), state_key=target)
        draft = await self._gate.check_event(draft, room)
        current = room.state_id(MEMBER, target)
        stored = await self._events.find(current) if current is not None else None
        if stored is not None and stored.event.sender == sender and stored.event.content == draft.content:
            return stored.event_id
        if draft.content.get("membership") == "invite":
            if server_name_of(target) != self._server_name:
                return await self._invite_remote(room, draft)
            if await self._permissions.blocks_invites(target):
                raise MatrixError("M_INVITE_BLOCKED", f"{target} does not accept invitations.", 403)
        written = await self._append.append(room.room_id, lambda _: [draft], timestamp_ms=timestamp_ms)
        return written[0].event_id

    async def _invite_remote(self, room: Room, draft: EventDraft) -> str:
        event = await self._append.build(room, draft)
        signed = await self._remote.invite(event, [])
        written = await self._append.append_built(room.room_id, signed)
        return written.event_id

    def _is_resident(self, room: Room) -> bool:
        """Whether this server takes part in the room: some local user is joined to it, or it was made here."""
        if "join" in room.local_members.values():
            return True
        return room.state_id(*_CREATE) is not None and not self._has_other_servers(room)

    def _has_other_servers(self, room: Room) -> bool:
        """Whether anybody from elsewhere is, or ever was, in the room."""
        return any(key[0] == MEMBER and server_name_of(key[1]) != self._server_name for key in room.state)

    @staticmethod
    def _check_joined(room: Room, user_id: str) -> None:
        if room.local_members.get(user_id) != "join":
            raise forbidden("You are not in this room.")

    async def _check_guest_access(self, room: Room) -> None:
        state = await self._events.get_state(room.state, [_GUEST_ACCESS])
        access = state.get(_GUEST_ACCESS)
        if access is None or access.content.get("guest_access") != "can_join":
            raise MatrixError("M_GUEST_ACCESS_FORBIDDEN", "Guests cannot join this room.", 403)

    async def _shown(self, user_id: str) -> dict[str, str]:
        if server_name_of(user_id) != self._server_name:
            return {}
        profile = await self._profiles.get(user_id)
        shown = {"displayname": profile.displayname, "avatar_url": profile.avatar_url}
        return {name: value for name, value in shown.items() if value is not None}

    async def _authorisation_of_join(self, room: Room, user_id: str) -> dict[str, str]:
        """What a join to a restricted room must carry: a member of ours who could have invited the user.

        Spec: client-server-api #restricted-rooms
        """
        if not room.version.auth.restricted_joins or room.local_members.get(user_id) in {"join", "invite"}:
            return {}
        state = await self._events.get_state(room.state, [_JOIN_RULES, _POWER_LEVELS, _CREATE])
        rules = state.get(_JOIN_RULES)
        restricted = {"restricted", "knock_restricted"} if room.version.auth.knock_restricted_joins else {"restricted"}
        if rules is None or rules.content.get("join_rule") not in restricted:
            return {}
        await self._check_allowed_by_membership(rules, user_id)
        levels = PowerLevels.of(state, room.version)
        for member, membership in room.local_members.items():
            if membership == "join" and levels.of_user(member) >= levels.invite:
                return {"join_authorised_via_users_server": member}
        raise MatrixError("M_UNABLE_TO_GRANT_JOIN", "Nobody on this server can let you into this room.", 400)

    async def _check_allowed_by_membership(self, rules: Event, user_id: str) -> None:
        allowed = rules.content.get("allow")
        checkable = False
        for condition in allowed if isinstance(allowed, list) else []:
            if not isinstance(condition, dict) or condition.get("type") != "m.room_membership":
                continue
            other = await self._rooms.find(str(condition.get("room_id")))
            if other is None or not self._is_resident(other):
                continue
            checkable = True
            if other.local_members.get(user_id) == "join":
                return
        if allowed and not checkable:
            raise MatrixError(
                "M_UNABLE_TO_AUTHORISE_JOIN", "This server is in none of the rooms whose members may join.", 400
            )
        raise forbidden("Only members of certain other rooms may join this room.")


def _with_reason(content: Mapping[str, Any], reason: str | None) -> dict[str, Any]:
    return {**content, "reason": reason} if reason is not None else dict(content)
