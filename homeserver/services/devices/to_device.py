"""Sends messages to single devices, of this server's users and of others.

Messages for other servers are queued in the transaction that accepts the sending: none is lost, none is sent twice.

Spec: client-server-api #send-to-device-messaging
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from homeserver.protocol.edus import DirectToDevice
from homeserver.protocol.errors import invalid_param, too_large
from homeserver.services.devices.remote_keys import by_server
from homeserver.storage.to_device import NewMessage, SentUnder, store_messages, take_transaction

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.storage.database import Database, Transaction

Messages = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Contents by user ID and by device ID, `*` for all devices of the user."""

_LONGEST = 255
MOST_BYTES = 65_536
"""The content of one message: as much as other servers take in one EDU."""


class RemoteToDevice(Protocol):
    """Where messages for other servers' users are queued; federation implements it."""

    def queue(self, tx: Transaction, server_name: str, message: DirectToDevice) -> None:
        """Store a message to be sent to a server. SQL only; runs again if the transaction does."""


class NoRemoteToDevice:
    """Without federation, nobody else can be reached."""

    def queue(self, tx: Transaction, server_name: str, message: DirectToDevice) -> None:
        """Messages to other servers' users go nowhere."""


class ToDevice:
    """The use case behind `PUT /sendToDevice`, and behind the EDU by which other servers do the same."""

    def __init__(
        self, server_name: str, database: Database, clock: Clock, randomness: Randomness, remote: RemoteToDevice
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._remote = remote

    async def send(
        self, sender: str, device_id: str | None, event_type: str, transaction_id: str, messages: Messages
    ) -> None:
        """Send messages; a transaction id that the device has used before changes nothing.

        M_INVALID_PARAM, M_TOO_LARGE.
        """
        for text in (event_type, transaction_id):
            if not text or len(text) > _LONGEST or "\x00" in text:
                raise invalid_param(f"Event types and transaction ids have 1 to {_LONGEST} characters.")
        split = by_server(messages)
        for content in (content for by_device in messages.values() for content in by_device.values()):
            if len(orjson.dumps(content)) > MOST_BYTES:
                raise too_large(f"A message to a device may have at most {MOST_BYTES} bytes.")
        local = _serialised(sender, event_type, split.pop(self._server_name, {}))
        message_id = self._randomness.token(16)
        remote = {
            server_name: DirectToDevice(sender, event_type, message_id, by_user)
            for server_name, by_user in split.items()
        }
        sent = SentUnder(sender, device_id or "", event_type, transaction_id)
        await self._database.write(self._store, sent, local, remote, self._clock.now_ms())

    async def receive(self, message: DirectToDevice) -> None:
        """Accept an EDU of another server, whose sender has been checked. One that came before changes nothing."""
        local = by_server(message.messages).get(self._server_name, {})
        if "\x00" in message.message_id + message.type:
            return
        sent = SentUnder(message.sender, "", message.type, message.message_id)
        messages = _serialised(message.sender, message.type, local)
        await self._database.write(self._store, sent, messages, {}, self._clock.now_ms())

    def _store(
        self,
        tx: Transaction,
        sent: SentUnder,
        local: Sequence[NewMessage],
        remote: Mapping[str, DirectToDevice],
        now_ms: int,
    ) -> None:
        if not take_transaction(tx, sent, now_ms):
            return
        for server_name, message in remote.items():
            self._remote.queue(tx, server_name, message)
        store_messages(tx, local, now_ms)


def _serialised(sender: str, event_type: str, messages: Messages) -> list[NewMessage]:
    return [
        NewMessage(user_id, device_id, orjson.dumps({"type": event_type, "sender": sender, "content": content}))
        for user_id, by_device in messages.items()
        for device_id, content in by_device.items()
    ]
