"""The redaction algorithm: strips an event to the keys its room version protects.
Also the question who may have a redaction applied to whose event.

Spec: client-server-api #redactions
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.room_versions import RoomVersion


def redact(pdu: Mapping[str, Any], room_version: RoomVersion) -> dict[str, Any]:
    """A new PDU with only what survives; `hashes` and `signatures` stay, `unsigned` goes."""
    kept_keys = room_version.redaction.top_level
    redacted = {key: value for key, value in pdu.items() if key in kept_keys}
    redacted["content"] = redact_content(pdu.get("type"), pdu.get("content"), room_version)
    return redacted


def redact_content(event_type: object, content: object, room_version: RoomVersion) -> dict[str, Any]:
    """What survives of a `content`; anything but an object becomes an empty one."""
    rules = room_version.redaction
    if not isinstance(content, dict):
        return {}
    if event_type == "m.room.create" and rules.whole_create_content:
        return content
    kept_keys = rules.content.get(event_type) if isinstance(event_type, str) else None
    if kept_keys is None:
        return {}
    kept = {key: value for key, value in content.items() if key in kept_keys}
    if event_type == "m.room.member" and rules.signed_third_party_invite:
        invite = content.get("third_party_invite")
        if isinstance(invite, dict):
            kept["third_party_invite"] = {"signed": invite["signed"]} if "signed" in invite else {}
    return kept


def may_be_redacted_by(
    original_sender: str, redaction_sender: str, redaction_sender_level: float, redact_level: float
) -> bool:
    """Whether a redaction takes effect, once both events are known and valid (room versions 3 and later).

    Spec: rooms/v3 #handling-redactions
    """
    return redaction_sender_level >= redact_level or server_name_of(redaction_sender) == server_name_of(original_sender)
