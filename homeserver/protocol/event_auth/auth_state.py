"""The room state as the authorisation rules ask for it: memberships, join rule, power levels, creator.

Spec: server-server-api #authorisation-rules
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.power_levels import PowerLevels, creator_of
from homeserver.protocol.room_versions import RoomVersion


class AuthState:
    """A state map with the answers the rules need; the create event is given apart, as v12 does not select it."""

    def __init__(self, state: Mapping[StateKey, Event], create: Event, room_version: RoomVersion) -> None:
        self.state = state
        self.create = create
        self.rules = room_version.auth
        self._room_version = room_version

    @cached_property
    def power(self) -> PowerLevels:
        return PowerLevels.of(self.state, self._room_version, self.create)

    @property
    def creator(self) -> str:
        return creator_of(self.create)

    @property
    def join_rule(self) -> object:
        """The room's join rule; rooms without one are open to the invited only."""
        join_rules = self.state.get(("m.room.join_rules", ""))
        return "invite" if join_rules is None else join_rules.content.get("join_rule")

    def membership_of(self, user_id: str) -> str:
        """The user's membership; `leave` for those who never had one."""
        member = self.state.get(("m.room.member", user_id))
        if member is None or member.membership is None:
            return "leave"
        return member.membership
