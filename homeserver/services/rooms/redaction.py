"""Whether a redaction takes effect on the event it names.

Spec: rooms/v3 #handling-redactions
"""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.power_levels import PowerLevels


def may_redact(redaction: Event, target: Event, state: Mapping[StateKey, Event], create: Event | None) -> bool:
    """True for a sender with the power to redact, and for any sender of the server the event came from.

    Spec: rooms/v3 #handling-redactions
    """
    if server_name_of(redaction.sender) == server_name_of(target.sender):
        return True
    return has_power_to_redact(redaction.sender, redaction, state, create)


def has_power_to_redact(user_id: str, redaction: Event, state: Mapping[StateKey, Event], create: Event | None) -> bool:
    """True when the power levels let this user redact other people's events."""
    levels = PowerLevels.of(state, redaction.room_version, create)
    return levels.of_user(user_id) >= levels.redact
