"""The rule for m.room.redaction in room versions 1 and 2; later versions decide when a redaction is applied.

Spec: rooms/v1 #authorisation-rules, rule 11
"""

from __future__ import annotations

from homeserver.protocol.event_auth.auth_state import AuthState
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.refusal import Refusal


def check_redaction(event: Event, room: AuthState) -> Refusal | None:
    # 11.1
    if room.power.of_user(event.sender) >= room.power.redact:
        return None
    # 11.2
    if event.redacts is not None and server_name_of(event.redacts) == server_name_of(event.event_id):
        return None
    # 11.3
    return Refusal("redaction.power", f"{event.sender} does not have the power level to redact events of others.")
