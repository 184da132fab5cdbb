"""Policy servers: whether a room uses one, and whether it recommends an event (step 7 of the receipt checks).

Spec: server-server-api #policy-servers
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from homeserver.protocol.event_hashes import verify_event_signature
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.signing import verify_key_of

POLICY: Final[StateKey] = ("m.room.policy", "")
POLICY_SERVER_KEY_ID: Final = "ed25519:policy_server"


@dataclass(frozen=True, slots=True)
class PolicyServer:
    """The server a room asks about every event, and the key (Base64) that its signatures must be made with."""

    server_name: str
    public_key: str


def find_policy_server(current_state: Mapping[StateKey, Event], joined_servers: Collection[str]) -> PolicyServer | None:
    """The room's policy server; None when the room names none, or one that has no joined user in it."""
    policy = current_state.get(POLICY)
    if policy is None:
        return None
    via, keys = policy.content.get("via"), policy.content.get("public_keys")
    public_key = keys.get("ed25519") if isinstance(keys, dict) else None
    if not isinstance(via, str) or not isinstance(public_key, str) or via not in joined_servers:
        return None
    return PolicyServer(via, public_key)


def needs_policy_signature(event: Event) -> bool:
    """Whether the policy server is asked about the event: all but the state event that names it."""
    return not (event.type == POLICY[0] and event.state_key == POLICY[1])


def is_recommended(event: Event, policy_server: PolicyServer | None) -> bool:
    """Whether the event may be relayed as far as the policy server is concerned; if not, it is soft-failed."""
    if policy_server is None or not needs_policy_signature(event):
        return True
    try:
        key = verify_key_of(policy_server.public_key)
    except ValueError:
        return False
    return verify_event_signature(event.pdu, event.room_version, policy_server.server_name, POLICY_SERVER_KEY_ID, key)
