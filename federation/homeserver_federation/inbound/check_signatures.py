"""Step 2: an event is signed by every server that must have signed it, or it is dropped.

Spec: server-server-api #validating-hashes-and-signatures-on-received-events
"""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.protocol.events import Event
from homeserver_federation.ports import SignatureChecks, SignatureFailure


async def without_badly_signed(
    checks: SignatureChecks, events: Mapping[str, Event]
) -> tuple[dict[str, Event], dict[str, SignatureFailure]]:
    """The events that are properly signed, and why the others are not, by ID. One batch: keys are fetched together."""
    failures = await checks.signature_failures(list(events.values())) if events else {}
    signed = {event_id: event for event_id, event in events.items() if event_id not in failures}
    return signed, failures
