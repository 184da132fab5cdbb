"""Implements the core's `RemoteToDevice`: messages for other servers' devices go into the outbox.

Spec: server-server-api #send-to-device-messaging
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from homeserver.storage.outbound_transactions import QueuedEdu, queue_edus

if TYPE_CHECKING:
    from homeserver.protocol.edus import DirectToDevice
    from homeserver.runtime.clock import Clock
    from homeserver.storage.database import Transaction
    from homeserver_config.sections.federation import FederationSettings


class ToDeviceOutbox:
    """Queues messages in the transaction that accepts them."""

    def __init__(self, settings: FederationSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def queue(self, tx: Transaction, server_name: str, message: DirectToDevice) -> None:
        """Store a message to be sent to a server; nothing for servers this one does not talk to."""
        if self._settings.may_talk_to(server_name):
            queue_edus(tx, [QueuedEdu(server_name, orjson.dumps(message.to_edu()))], self._clock.now_ms())
