"""The authorisation rules that depend on a room state, in the order of the specification.
Rule numbers in comments are those of room version 12.

Spec: rooms/v12 #authorisation-rules
"""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.protocol.event_auth.auth_state import AuthState
from homeserver.protocol.event_auth.create import check_create
from homeserver.protocol.event_auth.membership import SignedBy, check_member
from homeserver.protocol.event_auth.power_levels import check_power_levels
from homeserver.protocol.event_auth.redaction import check_redaction
from homeserver.protocol.event_hashes import create_event_id_of_room_id
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.refusal import Refusal


def authorise(
    event: Event,
    auth_state: Mapping[StateKey, Event],
    create: Event | None = None,
    *,
    signed_by_authoriser: SignedBy = True,
) -> Refusal | None:
    """None when the event is allowed by the given state of its room, else the rule it breaks.

    `auth_state` may be the whole room state or just the events of `auth_state_keys`; the accepted create event is
    taken from it unless given. `signed_by_authoriser` says whether the server of `join_authorised_via_users_server`
    (given by name to a callable) has validly signed the event; True when the receipt checks have made sure of it.
    """
    # 1
    if event.type == "m.room.create":
        return check_create(event)
    # 2
    if create is None:
        create = auth_state.get(("m.room.create", ""))
    if create is None:
        return Refusal("room.unknown", "The room does not exist.")
    refusal = _check_room(event, create)
    if refusal is not None:
        return refusal
    room = AuthState(auth_state, create, event.room_version)
    # 5
    if event.type == "m.room.member":
        return check_member(event, room, signed_by_authoriser)
    if event.type == "m.room.aliases" and room.rules.aliases_by_domain:
        return _check_aliases(event)
    # 6
    if room.membership_of(event.sender) != "join":
        return Refusal("sender.not_joined", f"{event.sender} is not in the room.")
    sender_level = room.power.of_user(event.sender)
    # 7
    if event.type == "m.room.third_party_invite":
        if sender_level >= room.power.invite:
            return None
        return Refusal("third_party_invite.power", f"{event.sender} does not have the power level to invite others.")
    # 8
    if room.power.to_send(event.type, event.is_state) > sender_level:
        return Refusal("sender.power", f"{event.sender} does not have the power level to send {event.type} events.")
    # 9
    if event.state_key is not None and event.state_key.startswith("@") and event.state_key != event.sender:
        return Refusal("state_key.other_user", f"Only {event.state_key} can set this state.")
    # 10
    if event.type == "m.room.power_levels" and event.is_state:
        return check_power_levels(event, room)
    if event.type == "m.room.redaction" and room.rules.redaction_by_level_or_domain:
        return check_redaction(event, room)
    # 11
    return None


def _check_room(event: Event, create: Event) -> Refusal | None:
    # 2
    if event.room_version.event_format.room_id_is_create_hash:
        if create.event_id != create_event_id_of_room_id(event.room_id):
            return Refusal("room.create", "The event is of another room than the create event.")
    elif create.room_id != event.room_id:
        return Refusal("room.create", "The event is of another room than the create event.")
    # 4
    if create.content.get("m.federate") is False and server_name_of(event.sender) != server_name_of(create.sender):
        return Refusal("room.federate", "The room does not let users of other servers in.")
    return None


def _check_aliases(event: Event) -> Refusal | None:
    """Spec: rooms/v1 #authorisation-rules, rule 4"""
    if event.state_key is None:
        return Refusal("aliases.state_key", "Aliases belong to a server, and the event names none.")
    if server_name_of(event.sender) != event.state_key:
        return Refusal("aliases.domain", "Users can only set aliases of their own server.")
    return None
