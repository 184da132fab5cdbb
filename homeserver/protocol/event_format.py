"""Checks of the shape and the size of PDUs, before anything else looks at them.
A PDU that fails is no event at all: it is dropped, not rejected.

Spec: server-server-api #pdus, client-server-api #size-limits
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.protocol.canonical_json import CanonicalJsonError, encode_canonical_json
from homeserver.protocol.errors import too_large
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import is_event_id, is_room_id, is_user_id
from homeserver.protocol.refusal import Refusal
from homeserver.protocol.room_versions import EventIdFormat, RoomVersion

MAX_EVENT_BYTES = 65_536
MAX_FIELD_BYTES = 255
MAX_PREV_EVENTS = 20
MAX_AUTH_EVENTS = 10
_LIMITED_FIELDS = ("type", "state_key", "sender", "room_id", "event_id")


def check_event_format(pdu: Mapping[str, Any], room_version: RoomVersion) -> Refusal | None:
    """None when `Event(pdu, room_version)` is safe to build, else what is wrong with the PDU."""
    return (
        _check_fields(pdu, room_version)
        or _check_references(pdu, room_version)
        or _check_json_and_size(pdu, room_version)
    )


def check_client_event_size(event: Event) -> None:
    """Raises M_TOO_LARGE when an event made here exceeds the limits of the federation format."""
    for field in _LIMITED_FIELDS:
        value = event.pdu.get(field)
        if isinstance(value, str) and _is_too_long(value):
            raise too_large(f"The event's {field} is longer than {MAX_FIELD_BYTES} bytes.")
    strict = event.room_version.event_format.strict_canonical_json
    if len(encode_canonical_json(event.pdu, strict=strict)) > MAX_EVENT_BYTES:
        raise too_large(f"The event is larger than {MAX_EVENT_BYTES} bytes.")


def _check_fields(pdu: Mapping[str, Any], room_version: RoomVersion) -> Refusal | None:
    event_format = room_version.event_format
    for field in ("type", "sender"):
        if not isinstance(pdu.get(field), str):
            return _malformed(f"The event has no {field}.")
    if not is_user_id(pdu["sender"]):
        return _malformed("The event's sender is not a user ID.")
    for field in ("content", "hashes", "signatures"):
        if not isinstance(pdu.get(field), dict):
            return _malformed(f"The event's {field} is not an object.")
    if "state_key" in pdu and not isinstance(pdu["state_key"], str):
        return _malformed("The event's state_key is not a string.")
    if "unsigned" in pdu and not isinstance(pdu["unsigned"], dict):
        return _malformed("The event's unsigned is not an object.")
    if type(pdu.get("origin_server_ts")) is not int:
        return _malformed("The event's origin_server_ts is not an integer.")
    depth = pdu.get("depth")
    if type(depth) is not int or not 0 <= depth <= event_format.max_depth:
        return _malformed("The event's depth is not an integer in the range of its room version.")
    if event_format.event_id is EventIdFormat.SERVER_MADE:
        event_id = pdu.get("event_id")
        if not isinstance(event_id, str) or not is_event_id(event_id) or ":" not in event_id:
            return _malformed("The event has no event_id.")
    return _check_room_id(pdu, room_version) or _check_field_lengths(pdu)


def _check_room_id(pdu: Mapping[str, Any], room_version: RoomVersion) -> Refusal | None:
    names_no_room = room_version.event_format.room_id_is_create_hash and pdu["type"] == "m.room.create"
    if names_no_room and pdu.get("state_key") == "" and "room_id" not in pdu:
        return None
    room_id = pdu.get("room_id")
    if not isinstance(room_id, str) or not is_room_id(room_id):
        return _malformed("The event has no valid room_id.")
    return None


def _check_field_lengths(pdu: Mapping[str, Any]) -> Refusal | None:
    for field in _LIMITED_FIELDS:
        value = pdu.get(field)
        if isinstance(value, str) and _is_too_long(value):
            return Refusal("format.field_too_long", f"The event's {field} is longer than {MAX_FIELD_BYTES} bytes.")
    return None


def _check_references(pdu: Mapping[str, Any], room_version: RoomVersion) -> Refusal | None:
    for field, limit in (("prev_events", MAX_PREV_EVENTS), ("auth_events", MAX_AUTH_EVENTS)):
        references = pdu.get(field)
        if not isinstance(references, list):
            return _malformed(f"The event's {field} is not a list.")
        if len(references) > limit:
            return Refusal("format.too_many_references", f"The event has more than {limit} {field}.")
        for reference in references:
            if not _is_reference(reference, room_version.event_format.references_carry_hashes):
                return _malformed(f"The event's {field} are malformed.")
    return None


def _is_reference(reference: object, carries_hash: bool) -> bool:
    if carries_hash:
        # Other servers send an empty hash object: nobody reads the hashes, so only the shape counts.
        if not isinstance(reference, list) or len(reference) != 2 or not isinstance(reference[1], dict):
            return False
        reference = reference[0]
    return isinstance(reference, str) and is_event_id(reference)


def _check_json_and_size(pdu: Mapping[str, Any], room_version: RoomVersion) -> Refusal | None:
    try:
        encoded = encode_canonical_json(pdu, strict=room_version.event_format.strict_canonical_json)
    except CanonicalJsonError as error:
        return Refusal("format.canonical_json", f"The event is not canonical JSON: {error}.")
    if len(encoded) > MAX_EVENT_BYTES:
        return Refusal("format.too_large", f"The event is larger than {MAX_EVENT_BYTES} bytes.")
    return None


def _is_too_long(text: str) -> bool:
    if len(text) * 4 <= MAX_FIELD_BYTES:
        return False
    return len(text.encode("utf-8", "surrogatepass")) > MAX_FIELD_BYTES


def _malformed(reason: str) -> Refusal:
    return Refusal("format.malformed", reason)
