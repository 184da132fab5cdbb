"""Passes on what is not in the log: who types, what our users have read, who is online.

Changes are gathered for a moment, so that ten of them make one EDU.

Spec: server-server-api #typing-notifications, #receipts, #presence
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from homeserver.protocol.edus import PresenceUpdate, Receipt
from homeserver.protocol.identifiers import server_name_of
from homeserver.storage.receipts import READ
from homeserver.storage.receipts import Receipt as StoredReceipt

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.services.presence import Presence
    from homeserver.services.typing import Typing
    from homeserver.storage.changes import Change
    from homeserver_federation.outbound.room_servers import RoomServers
    from homeserver_federation.outbound.sender import FederationSender
    from homeserver_federation.outbound.unsent import Unsent

_GATHER_S = 0.05
_PRESENCE_EVERY_S = 2.0
_REMIND_EVERY_S = 25.0


class EphemeralNews:
    """Wire `follow` to the database's commits. `presence` is None where it is not exchanged with other servers."""

    def __init__(
        self,
        server_name: str,
        clock: Clock,
        sender: FederationSender,
        room_servers: RoomServers,
        typing: Typing,
        presence: Presence | None,
    ) -> None:
        self._server_name = server_name
        self._clock = clock
        self._sender = sender
        self._room_servers = room_servers
        self._typing = typing
        self._presence = presence
        self._typing_rooms: set[str] = set()
        self._told_typing: dict[str, set[str]] = {}
        self._receipts: list[StoredReceipt] = []
        self._present: set[str] = set()
        self._moved = asyncio.Event()

    def start(self, background: BackgroundTasks) -> None:
        """Begin to listen."""
        self._typing.on_change(self._typing_changed)
        background.keep_running("federation-ephemeral", self._run)
        background.run_every("federation-typing", _REMIND_EVERY_S, self.remind)
        if self._presence is not None:
            self._presence.on_change(self._presence_changed)
            background.run_every("federation-presence", _PRESENCE_EVERY_S, self.spread_presence)

    def follow(self, changes: Iterable[Change]) -> None:
        """Hear of receipts. Private ones concern no room, and are nobody else's business."""
        for change in changes:
            receipt = change.detail
            if change.room_id is None or not isinstance(receipt, StoredReceipt) or receipt.receipt_type != READ:
                continue
            if self._is_ours(receipt.user_id):
                self._receipts.append(receipt)
                self._moved.set()

    async def remind(self) -> None:
        """Other servers end a typing notice by themselves: tell them that somebody still types."""
        for room_id, users in list(self._told_typing.items()):
            for user_id in users & set(self._typing.users_in(room_id)):
                await self._send(room_id, _typing_note(room_id, user_id, True))

    async def spread_presence(self) -> None:
        """Tell of the users whose presence changed, each as it is now."""
        changed, self._present = self._present, set()
        if self._presence is None:
            return
        for user_id in changed:
            content = self._presence.content_of(user_id)
            update = PresenceUpdate(
                user_id,
                content["presence"],
                content.get("last_active_ago"),
                content.get("status_msg"),
                bool(content.get("currently_active")),
            )
            servers = await self._room_servers.sharing_rooms_with(user_id)
            self._sender.wake_with(servers, _presence_note(update))

    async def _run(self) -> None:
        while True:
            await self._moved.wait()
            await self._clock.sleep(_GATHER_S)
            self._moved.clear()
            receipts, self._receipts = self._receipts, []
            rooms, self._typing_rooms = self._typing_rooms, set()
            for room_id in rooms:
                await self._tell_typing(room_id)
            for receipt in receipts:
                await self._send(receipt.room_id, _receipt_note(receipt), though_paused=True)

    async def _tell_typing(self, room_id: str) -> None:
        users = {user_id for user_id in self._typing.users_in(room_id) if self._is_ours(user_id)}
        told = self._told_typing.pop(room_id, set())
        if users:
            self._told_typing[room_id] = users
        for user_id in users ^ told:
            await self._send(room_id, _typing_note(room_id, user_id, user_id in users))

    async def _send(self, room_id: str, note: Callable[[Unsent], None], *, though_paused: bool = False) -> None:
        servers = await self._room_servers.joined(room_id)
        self._sender.wake_with(servers, note, though_paused=though_paused)

    def _typing_changed(self, room_id: str) -> None:
        self._typing_rooms.add(room_id)
        self._moved.set()

    def _presence_changed(self, user_id: str) -> None:
        if self._is_ours(user_id):
            self._present.add(user_id)

    def _is_ours(self, user_id: str) -> bool:
        return server_name_of(user_id) == self._server_name


def _typing_note(room_id: str, user_id: str, typing: bool) -> Callable[[Unsent], None]:
    return lambda unsent: unsent.note_typing(room_id, user_id, typing)


def _presence_note(update: PresenceUpdate) -> Callable[[Unsent], None]:
    return lambda unsent: unsent.note_presence(update)


def _receipt_note(stored: StoredReceipt) -> Callable[[Unsent], None]:
    thread_id = stored.thread_id or None
    receipt = Receipt(stored.room_id, stored.user_id, stored.event_id, stored.received_ms, thread_id)
    return lambda unsent: unsent.note_receipt(receipt)
