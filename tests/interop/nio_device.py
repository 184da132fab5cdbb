"""Devices that run matrix-nio, as a bot or a small client does: syncing in the background, keys kept in a folder.

Every event that the library handed out is remembered, so that a test can wait for the one it means.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from nio import AsyncClient, AsyncClientConfig, ErrorResponse
from nio.events import Event, RoomMessageText
from nio.events.account_data import AccountDataEvent
from nio.events.ephemeral import EphemeralEvent
from nio.events.invite_events import InviteEvent
from nio.events.presence import PresenceEvent
from nio.events.to_device import ToDeviceEvent

PASSWORD = "a long pass phrase"
PATIENCE_S = 30
T = TypeVar("T")


class Device:
    """One logged-in client. `client` is the library's own object, `seen` all that it handed out, oldest first."""

    def __init__(self, url: str, folder: Path, name: str, device_id: str | None = None) -> None:
        config = AsyncClientConfig(store_sync_tokens=True, max_timeouts=3)
        folder.mkdir(exist_ok=True)
        self.client = AsyncClient(url, name, device_id, str(folder), config)
        self.seen: list[Any] = []
        self._news = asyncio.Condition()
        self._syncing: asyncio.Task[None] | None = None
        self.client.add_event_callback(self._on_room_event, (Event, InviteEvent))
        self.client.add_ephemeral_callback(self._on_room_event, EphemeralEvent)
        self.client.add_room_account_data_callback(self._on_room_event, AccountDataEvent)
        self.client.add_to_device_callback(self._on_event, ToDeviceEvent)
        self.client.add_presence_callback(self._on_event, PresenceEvent)
        self.client.add_response_callback(self._on_event)

    @property
    def user_id(self) -> str:
        return str(self.client.user_id)

    @property
    def device_id(self) -> str:
        return str(self.client.device_id)

    def start(self) -> None:
        """Begin to sync. The library uploads keys, asks for devices and claims keys meanwhile."""
        self._syncing = asyncio.create_task(self.client.sync_forever(timeout=10_000, full_state=True))

    async def pause(self) -> None:
        """End the syncing."""
        if self._syncing is None:
            return
        self._syncing.cancel()
        await asyncio.wait([self._syncing])
        self._syncing = None
        await asyncio.sleep(0.01)  # the library cancels its requests without waiting for their end

    async def stop(self) -> None:
        """End the syncing and close the connections; the store stays in its folder."""
        await self.pause()
        await self.client.close()

    async def until(self, found: Callable[[], T | None]) -> T:
        """What `found` returns as soon as it is true; it is asked again whenever something has arrived."""
        result = await self._happens(found, PATIENCE_S)
        if not result:
            lines = "\n".join(f"  {event!r:.300}" for event in self.seen[-30:])
            raise AssertionError(f"{self.user_id} {self.device_id} waited in vain; last seen:\n{lines}")
        return result

    async def _happens(self, found: Callable[[], T | None], within_s: float) -> T | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._news:
                while not (result := found()):
                    if self._syncing is not None and self._syncing.done():
                        self._syncing.result()
                    await self._news.wait()
                return result
        return found()

    async def event(self, kind: type[T], matches: Callable[[T], bool] = lambda event: True) -> T:
        """The first event of this kind that matches, waited for if need be."""
        return await self.until(
            lambda: next((event for event in self.seen if isinstance(event, kind) and matches(event)), None)
        )

    async def text(self, body: str) -> RoomMessageText:
        """A message with this text, decrypted."""
        return await self.event(RoomMessageText, lambda event: event.body == body)

    async def send(self, room_id: str, content: dict[str, Any], event_type: str = "m.room.message") -> str:
        sent = good(await self.client.room_send(room_id, event_type, content, ignore_unverified_devices=True))
        return str(sent.event_id)

    async def say(self, room_id: str, body: str) -> str:
        return await self.send(room_id, {"msgtype": "m.text", "body": body})

    async def knows_room(self, room_id: str, *members: Device) -> None:
        """Wait until this device has the room with these members and the keys of their devices."""
        wanted = {member.user_id for member in members}
        await self.until(lambda: room_id in self.client.rooms and wanted <= set(self.client.rooms[room_id].users))
        while self.client.rooms[room_id].encrypted and (unknown := self._unknown(members)):
            # The library forgets that a user's devices have changed when it hears of it while it is asking for them.
            if not await self._happens(lambda: not self._unknown(members), within_s=1):
                self.client.users_for_key_query.update(unknown)
                good(await self.client.keys_query())

    def _unknown(self, members: Iterable[Device]) -> set[str]:
        """Who of these users has one of these devices that this device does not know of."""
        known = {(device.user_id, device.id) for device in self.client.device_store}
        known.add((self.user_id, self.device_id))
        return {member.user_id for member in members if (member.user_id, member.device_id) not in known}

    async def _on_room_event(self, room: Any, event: Any) -> None:
        await self._on_event(event)

    async def _on_event(self, event: Any) -> None:
        self.seen.append(event)
        async with self._news:
            self._news.notify_all()


class Devices:
    """Makes devices and closes them all. `suffix` ends the names of all accounts."""

    def __init__(self, url: str, folder: Path, suffix: str = "") -> None:
        self._url = url
        self._suffix = suffix
        self._folder = folder
        self._made: list[Device] = []

    async def register(self, name: str) -> Device:
        """A new account with its first device, syncing."""
        device = self.stranger(name)
        good(await device.client.register(device.client.user, PASSWORD, f"{name}'s first"))
        device.start()
        return device

    async def log_in(self, name: str) -> Device:
        """One more device of an account, syncing."""
        device = self.stranger(name)
        good(await device.client.login(PASSWORD, f"{name}'s other"))
        device.start()
        return device

    async def restart(self, device: Device) -> Device:
        """The same device again, from what it has stored, as after the end of the program."""
        await device.stop()
        again = Device(self._url, self._folder / "store", device.user_id, device.device_id)
        again.client.restore_login(device.user_id, device.device_id, device.client.access_token)
        self._made.append(again)
        again.start()
        return again

    async def close(self) -> None:
        await asyncio.gather(*(device.stop() for device in self._made))

    def stranger(self, name: str) -> Device:
        """A device that is not logged in."""
        device = Device(self._url, self._folder / "store", name + self._suffix)
        self._made.append(device)
        return device


def good(response: T) -> T:
    """The response, unless the server has refused."""
    assert not isinstance(response, ErrorResponse), response
    return response
