"""Step 3: an event whose content is not what was hashed and signed goes on in its redacted form.

Spec: server-server-api #validating-hashes-and-signatures-on-received-events
"""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.protocol.events import Event
from homeserver.protocol.receipt import unaltered_or_redacted


def with_altered_redacted(events: Mapping[str, Event]) -> dict[str, Event]:
    """The events by ID, each as it is or redacted."""
    return {event_id: unaltered_or_redacted(event) for event_id, event in events.items()}
