"""The rules on the auth events an event names: the right ones, once each, of this room, and not rejected.

Spec: rooms/v12 #authorisation-rules, rule 3 (rule 2 in versions 1 to 11)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from homeserver.protocol.event_builder import auth_state_keys
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.refusal import Refusal


def check_auth_events(
    event: Event, auth_events: Sequence[Event], *, is_rejected: Callable[[str], bool] = lambda _: False
) -> Refusal | None:
    """Judge the selection of `auth_events`, which are the events `event.auth_event_ids` names, all of them."""
    if event.type == "m.room.create":
        return None
    selected = set(auth_state_keys(event, event.room_version))
    seen: set[StateKey] = set()
    for auth_event in auth_events:
        if auth_event.state_key is None:
            return Refusal("auth_events.extra", f"The auth event {auth_event.event_id} is not a state event.")
        key = (auth_event.type, auth_event.state_key)
        # .1
        if key in seen:
            return Refusal("auth_events.duplicate", f"There are two auth events of type {key[0]} for {key[1]!r}.")
        seen.add(key)
        # .2
        if key not in selected:
            return Refusal("auth_events.extra", f"{key[0]} for {key[1]!r} cannot be an auth event of this event.")
        # .3
        if is_rejected(auth_event.event_id):
            return Refusal("auth_events.rejected", f"The auth event {auth_event.event_id} was rejected.")
        # .5
        if auth_event.room_id != event.room_id:
            return Refusal("auth_events.other_room", f"The auth event {auth_event.event_id} is of another room.")
    # .4
    if event.room_version.auth.create_event_is_selected and ("m.room.create", "") not in seen:
        return Refusal("auth_events.no_create", "The create event is not among the auth events.")
    return None
