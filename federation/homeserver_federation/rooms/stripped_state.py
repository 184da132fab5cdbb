"""What of a room its invitees and knockers are shown: PDUs between servers, stripped state for clients.

Spec: client-server-api #stripped-state
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from homeserver.protocol.client_event import to_stripped_state
from homeserver.protocol.errors import MatrixError, invalid_param
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.room_versions import RoomVersion
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room
from homeserver_federation.inbound.check_format import PduDropped, parse_pdu
from homeserver_federation.inbound.check_hashes import with_altered_redacted
from homeserver_federation.inbound.check_signatures import without_badly_signed
from homeserver_federation.ports import SignatureChecks

_SHOWN: tuple[StateKey, ...] = (
    ("m.room.create", ""),
    ("m.room.name", ""),
    ("m.room.avatar", ""),
    ("m.room.topic", ""),
    ("m.room.join_rules", ""),
    ("m.room.canonical_alias", ""),
    ("m.room.encryption", ""),
)
_MOST_ENTRIES = 50


async def shown_of(room: Room, events: EventStore, sender: str | None = None) -> list[dict[str, Any]]:
    """The PDUs that another server is given, with the member event of who invites."""
    keys = [*_SHOWN, (MEMBER, sender)] if sender is not None else list(_SHOWN)
    held = await events.get_state(room.state, keys)
    return [held[key].pdu for key in keys if key in held]


async def stripped(
    version: RoomVersion, room_id: str, entries: object, checks: SignatureChecks
) -> list[dict[str, Any]]:
    """What clients may see of PDUs another server gave. M_INVALID_PARAM where the room version makes it sure.

    Where it does not, servers may send stripped state as they once did; entries that are wrong are left out.
    """
    given: Sequence[object] = entries[:_MOST_ENTRIES] if isinstance(entries, list) else []
    is_strict = version.event_format.room_id_is_create_hash
    events: dict[str, Event] = {}
    shown: list[dict[str, Any]] = []
    for entry in given:
        try:
            event = parse_pdu(entry, version, room_id)
        except PduDropped as dropped:
            if is_strict:
                raise _wrong(str(dropped)) from None
            if isinstance(entry, dict) and _is_stripped(entry):
                shown.append(entry)
            continue
        events[event.event_id] = event
    signed, failures = await without_badly_signed(checks, events)
    if is_strict and failures:
        raise _wrong(next(iter(failures.values())).reason)
    if is_strict and not any(event.type == "m.room.create" and event.state_key == "" for event in signed.values()):
        raise _wrong("The create event is missing.")
    return shown + [to_stripped_state(event) for event in with_altered_redacted(signed).values() if event.is_state]


def _is_stripped(entry: dict[str, Any]) -> bool:
    if "signatures" in entry or not isinstance(entry.get("content"), dict):
        return False
    return all(isinstance(entry.get(key), str) for key in ("type", "sender", "state_key"))


def _wrong(reason: str) -> MatrixError:
    return invalid_param(f"The state shown of the room is not as it should be: {reason}")
