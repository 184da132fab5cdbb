"""Step 1: a PDU has the format of its room version, or it is dropped.

Spec: server-server-api #checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from homeserver.protocol.canonical_json import CanonicalJsonError
from homeserver.protocol.event_format import check_event_format
from homeserver.protocol.event_hashes import event_id_of
from homeserver.protocol.events import Event
from homeserver.protocol.room_versions import EventIdFormat, RoomVersion


class PduDropped(Exception):
    """A PDU that is no event, or whose place in the room cannot be found out. It is not kept."""


class NotToBeHad(PduDropped):
    """What the event rests on cannot be fetched just now. Trying again later may help."""


class NotForUs(PduDropped):
    """Other servers refuse to say what the event rests on: as they see it, this server is not in the room."""


def parse_pdu(pdu: object, version: RoomVersion, room_id: str) -> Event:
    """The event of a PDU that is said to be of a room. Raises PduDropped."""
    if not isinstance(pdu, dict):
        raise PduDropped("A PDU is a JSON object.")
    refusal = check_event_format(pdu, version)
    if refusal is not None:
        raise PduDropped(refusal.reason)
    try:
        event = Event(pdu, version)
    except CanonicalJsonError as error:
        raise PduDropped(f"The event is not canonical JSON: {error}.") from None
    if event.room_id != room_id:
        raise PduDropped("The event is of another room.")
    if event.event_id in event.prev_event_ids or event.event_id in event.auth_event_ids:
        raise PduDropped("The event refers to itself.")
    return event


def parse_pdus(pdus: Iterable[object], version: RoomVersion, room_id: str) -> dict[str, Event]:
    """The events among PDUs by ID; those that are none are left out."""
    events: dict[str, Event] = {}
    for pdu in pdus:
        try:
            event = parse_pdu(pdu, version, room_id)
        except PduDropped:
            continue
        events.setdefault(event.event_id, event)
    return events


def find_event_id(pdu: Mapping[str, Any], version: RoomVersion) -> str | None:
    """The ID by which the sender of a PDU knows it, whatever else is wrong with it; None when it has none."""
    if version.event_format.event_id is EventIdFormat.SERVER_MADE:
        event_id = pdu.get("event_id")
        return event_id if isinstance(event_id, str) else None
    try:
        return event_id_of(pdu, version)
    except (CanonicalJsonError, TypeError, ValueError):
        return None
