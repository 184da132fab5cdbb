"""The authorisation rules: may this event be in the room, given a state of the room?
`authorise` judges by a state map, `check_auth_events` judges the selection of auth events.

Spec: server-server-api #authorisation-rules, rooms
"""

from homeserver.protocol.event_auth.auth_events import check_auth_events
from homeserver.protocol.event_auth.rules import authorise
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.refusal import Refusal

__all__ = ["PowerLevels", "Refusal", "authorise", "check_auth_events"]
