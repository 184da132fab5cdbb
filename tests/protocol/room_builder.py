"""Builds rooms event by event for the tests: real, signed events with the right auth events.
A branch can be forked; both branches then grow on their own.
"""

from __future__ import annotations

from copy import copy
from typing import Any

from homeserver.protocol.event_auth import authorise
from homeserver.protocol.event_builder import EventDraft, auth_state_keys, build_event
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.refusal import Refusal
from homeserver.protocol.room_versions import RoomVersion, get_room_version
from homeserver.protocol.signing import SigningKey

KEY = SigningKey("1", bytes(range(32)))
ALICE, BOB, CAROL, DAVE = "@alice:one", "@bob:one", "@carol:two", "@dave:two"


class RoomBuilder:
    """One branch of a room: its last events, its state after them, and all events of all branches."""

    def __init__(self, version: str = "12") -> None:
        self.version: RoomVersion = get_room_version(version)
        self.room_id: str | None = "!room:one"
        if self.version.event_format.room_id_is_create_hash:
            self.room_id = None
        self.state: dict[StateKey, Event] = {}
        self.events: dict[str, Event] = {}
        self.tips: list[Event] = []
        self.clock = [1_000_000]
        self.create: Event | None = None

    def fork(self) -> RoomBuilder:
        branch = copy(self)
        branch.state = dict(self.state)
        branch.tips = list(self.tips)
        return branch

    def make(
        self,
        event_type: str,
        sender: str,
        content: dict[str, Any],
        state_key: str | None = None,
        *,
        redacts: str | None = None,
        ts: int | None = None,
        state: dict[StateKey, Event] | None = None,
    ) -> Event:
        """An event after the tips of this branch, not applied to it."""
        draft = EventDraft(self.room_id, event_type, sender, content, state_key, redacts)
        known = self.state if state is None else state
        keys = auth_state_keys(draft, self.version)
        self.clock[0] += 1
        return build_event(
            draft,
            self.version,
            prev_events=self.tips,
            auth_events=[known[key] for key in keys if key in known],
            origin_server_ts=self.clock[0] if ts is None else ts,
            server_name=sender.partition(":")[2],
            signing_key=KEY,
            event_localpart=f"event{self.clock[0]}",
        )

    def judge(self, event: Event) -> Refusal | None:
        return authorise(event, self.state, self.create)

    def refusal(
        self, event_type: str, sender: str, content: dict[str, Any], state_key: str | None = None
    ) -> str | None:
        """The rule that refuses such an event now; None when it is allowed."""
        refused = self.judge(self.make(event_type, sender, content, state_key))
        return None if refused is None else refused.rule

    def send(
        self,
        event_type: str,
        sender: str,
        content: dict[str, Any],
        state_key: str | None = None,
        *,
        ts: int | None = None,
    ) -> Event:
        """Make, judge, and apply an event."""
        event = self.make(event_type, sender, content, state_key, ts=ts)
        refused = self.judge(event)
        assert refused is None, refused
        return self.apply(event)

    def apply(self, event: Event) -> Event:
        if event.type == "m.room.create":
            self.create = event
            self.room_id = event.room_id
        self.events[event.event_id] = event
        self.tips = [event]
        if event.is_state:
            self.state[event.key] = event
        return event

    def member(self, user: str, membership: str, sender: str | None = None, **content: Any) -> Event:
        return self.send("m.room.member", sender or user, {"membership": membership, **content}, user)

    def member_refusal(self, user: str, membership: str, sender: str | None = None, **content: Any) -> str | None:
        return self.refusal("m.room.member", sender or user, {"membership": membership, **content}, user)

    def power(self, sender: str, users: dict[str, Any], **content: Any) -> Event:
        return self.send("m.room.power_levels", sender, {"users": users, **content}, "")

    def join_rule(self, rule: str) -> Event:
        return self.send("m.room.join_rules", ALICE, {"join_rule": rule}, "")

    def ids(self) -> dict[StateKey, str]:
        return {key: event.event_id for key, event in self.state.items()}


def new_room(version: str = "12", *, join_rule: str = "public", **create_content: Any) -> RoomBuilder:
    """A room that Alice created, with power levels and a join rule."""
    room = RoomBuilder(version)
    content: dict[str, Any] = {"room_version": version, **create_content}
    if room.version.auth.creator_in_content:
        content["creator"] = ALICE
    room.send("m.room.create", ALICE, content, "")
    room.member(ALICE, "join")
    room.power(ALICE, {} if room.version.auth.creators_have_infinite_power else {ALICE: 100})
    room.join_rule(join_rule)
    return room
