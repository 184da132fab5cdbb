"""Step 7: an event is recommended by the room's policy server, if there is one, or it is soft-failed.

Spec: server-server-api #validating-policy-server-signatures
"""

from __future__ import annotations

from homeserver.protocol.events import Event
from homeserver.protocol.policy_servers import (
    POLICY,
    POLICY_SERVER_KEY_ID,
    PolicyServer,
    find_policy_server,
    is_recommended,
    needs_policy_signature,
)
from homeserver.protocol.receipt import Standing, Verdict
from homeserver.protocol.refusal import Refusal
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Room
from homeserver_federation.errors import FederationError
from homeserver_federation.ports import ServerClient
from homeserver_federation.rooms.joined_servers import JoinedServers

_TIMEOUT_MS = 10_000
_NOT_RECOMMENDED = Verdict(
    Standing.SOFT_FAILED, Refusal("policy_server.not_recommended", "The room's policy server does not recommend it.")
)


class CheckPolicyServer:
    """Looks for the policy server's signature, and asks for it where it is missing."""

    def __init__(self, events: EventStore, joined: JoinedServers, client: ServerClient) -> None:
        self._events = events
        self._joined = joined
        self._client = client

    async def check(self, event: Event, room: Room) -> Verdict | None:
        """None for an event that is recommended."""
        if room.state_id(*POLICY) is None or not needs_policy_signature(event):
            return None
        state = await self._events.get_state(room.state, [POLICY])
        server = find_policy_server(state, await self._joined.of(room))
        if is_recommended(event, server) or (server is not None and await self._ask(event, server)):
            return None
        return _NOT_RECOMMENDED

    async def _ask(self, event: Event, server: PolicyServer) -> bool:
        try:
            answer = await self._client.post(
                server.server_name, "/_matrix/policy/v1/sign", event.pdu, timeout_ms=_TIMEOUT_MS
            )
        except FederationError:
            return False
        given = answer.get(server.server_name) if isinstance(answer, dict) else None
        signature = given.get(POLICY_SERVER_KEY_ID) if isinstance(given, dict) else None
        if not isinstance(signature, str):
            return False
        signatures = {**event.pdu["signatures"], server.server_name: {POLICY_SERVER_KEY_ID: signature}}
        signed = Event({**event.pdu, "signatures": signatures}, event.room_version, event.event_id)
        return is_recommended(signed, server)
