"""Rule 1: the m.room.create event, which founds a room and is judged by nothing but itself.

Spec: rooms/v12 #authorisation-rules, rule 1
"""

from __future__ import annotations

from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import is_user_id, server_name_of
from homeserver.protocol.refusal import Refusal
from homeserver.protocol.room_versions import find_room_version


def check_create(event: Event) -> Refusal | None:
    version = event.room_version
    # 1.1
    if event.prev_event_ids:
        return Refusal("create.prev_events", "The event that creates a room cannot follow other events.")
    # 1.2
    if version.event_format.room_id_is_create_hash:
        if "room_id" in event.pdu:
            return Refusal("create.room_id", "The event that creates a room cannot name its own room ID.")
    elif server_name_of(event.room_id) != server_name_of(event.sender):
        return Refusal("create.domain", "The room ID and the sender of the create event are of different servers.")
    # 1.3
    if "room_version" in event.content and find_room_version(event.content["room_version"]) is None:
        return Refusal("create.room_version", "The room is of an unknown version.")
    # 1.4
    if version.auth.creator_in_content and "creator" not in event.content:
        return Refusal("create.creator", "The create event does not name its creator.")
    if version.auth.creators_have_infinite_power and "additional_creators" in event.content:
        additional = event.content["additional_creators"]
        if not isinstance(additional, list) or not all(
            isinstance(user, str) and is_user_id(user) for user in additional
        ):
            return Refusal("create.additional_creators", "The additional creators are not a list of user IDs.")
    # 1.5
    return None
