"""Tells other servers what changes about our users' devices, and introduces users to servers they newly meet.

Spec: server-server-api #device-management
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol.edus import DeviceListUpdate, SigningKeyUpdate
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.receipt import Standing
from homeserver.storage.database import load_position
from homeserver.storage.device_lists import CROSS_SIGNING, DEVICE_LIST, DeviceListChange, load_device_list_changes
from homeserver.storage.devices import find_device
from homeserver.storage.followers import open_follower, store_follower_position
from homeserver.storage.outbound_transactions import QueuedEdu, queue_edus, take_device_list_step

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.services.devices.device_keys import DeviceKeys
    from homeserver.services.rooms.event_store import EventStore
    from homeserver.services.rooms.state_groups import StateGroups
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database, Transaction
    from homeserver.storage.events import StoredEvent
    from homeserver_config.sections.federation import FederationSettings
    from homeserver_federation.outbound.room_servers import RoomServers

FOLLOWER = "federation_device_lists"
_BATCH = 50
_MOST_INTRODUCED = 20


class DeviceListUpdates:
    """Reads the changes of devices from a position of its own. Wire `follow` to the database's commits."""

    def __init__(
        self,
        server_name: str,
        settings: FederationSettings,
        database: Database,
        clock: Clock,
        keys: DeviceKeys,
        events: EventStore,
        groups: StateGroups,
        room_servers: RoomServers,
    ) -> None:
        self._server_name = server_name
        self._settings = settings
        self._database = database
        self._clock = clock
        self._keys = keys
        self._events = events
        self._groups = groups
        self._room_servers = room_servers
        self._position = 0
        self._moved = asyncio.Event()

    async def start(self, background: BackgroundTasks) -> None:
        """Begin where the last run ended."""
        self._position = await self._database.write(open_follower, FOLLOWER)
        self._moved.set()
        background.keep_running("federation-device-lists", self._run)

    def look(self) -> None:
        """Nobody knows whether anything changed."""
        self._moved.set()

    def follow(self, changes: Iterable[Change]) -> None:
        """The log has moved."""
        if any(change.subject == DEVICE_LIST for change in changes):
            self._moved.set()

    async def introductions(self, events: Sequence[StoredEvent]) -> list[QueuedEdu]:
        """What to tell the servers that see one of our users for the first time, because the user enters a room."""
        edus: list[QueuedEdu] = []
        for stored in events:
            event = stored.event
            user_id = event.state_key
            if stored.standing is not Standing.ACCEPTED or event.membership != "join" or user_id is None:
                continue
            if server_name_of(user_id) == self._server_name and not await self.was_joined(stored, user_id):
                edus.extend(await self._introduction(user_id, event.room_id))
        return edus

    async def was_joined(self, stored: StoredEvent, user_id: str) -> bool:
        """Whether a user was in the room before an event."""
        key = ("m.room.member", user_id)
        before = await self._groups.find(stored.state_before, [key])
        found = await self._events.find(before[key]) if key in before else None
        return found is not None and found.event.membership == "join"

    async def _introduction(self, user_id: str, room_id: str) -> list[QueuedEdu]:
        servers = self._others(await self._room_servers.joined(room_id))
        if servers:
            servers -= await self._room_servers.sharing_rooms_with(user_id, but_for=room_id)
        if not servers:
            return []
        devices = await self._keys.user_devices(user_id)
        updates = [
            self._update(user_id, device["device_id"], devices["stream_id"], (), device).to_edu()
            for device in devices["devices"][:_MOST_INTRODUCED]
        ]
        if "master_key" in devices:
            updates.append(_signing_key_update(user_id, devices).to_edu())
        return _addressed(servers, updates)

    async def _run(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            while await self._step():
                pass

    async def _step(self) -> bool:
        """Tell of some changes; False when there are no more."""
        up_to = await self._database.read(load_position)
        changes = await self._database.read(load_device_list_changes, self._position, up_to, _BATCH)
        for change in changes:
            if server_name_of(change.user_id) == self._server_name:
                await self._tell(change)
            self._position = change.position
        if len(changes) == _BATCH:
            return True
        if changes:
            await self._database.write(store_follower_position, FOLLOWER, up_to)
        self._position = up_to
        return False

    async def _tell(self, change: DeviceListChange) -> None:
        servers = self._others(await self._room_servers.sharing_rooms_with(change.user_id))
        devices = await self._keys.user_devices(change.user_id)
        exists = await self._database.read(find_device, change.user_id, change.device_id) is not None
        await self._database.write(self._queue, change, frozenset(servers), devices, exists, self._clock.now_ms())

    def _queue(
        self,
        tx: Transaction,
        change: DeviceListChange,
        servers: frozenset[str],
        devices: Mapping[str, Any],
        exists: bool,
        now_ms: int,
    ) -> None:
        """Queue one change and move on past it, in one transaction."""
        store_follower_position(tx, FOLLOWER, change.position)
        if not servers:
            return
        if change.device_id == CROSS_SIGNING:
            if "master_key" in devices:
                update = _signing_key_update(change.user_id, devices).to_edu()
                queue_edus(tx, _addressed(servers, [update]), now_ms)
            return
        prev_ids = take_device_list_step(tx, change.user_id, change.position)
        device = next((one for one in devices["devices"] if one["device_id"] == change.device_id), None)
        if device is None and exists:
            device = {}
        update = self._update(change.user_id, change.device_id, change.position, prev_ids, device).to_edu()
        queue_edus(tx, _addressed(servers, [update]), now_ms)

    def _update(
        self,
        user_id: str,
        device_id: str,
        stream_id: int,
        prev_ids: tuple[int, ...],
        device: Mapping[str, Any] | None,
    ) -> DeviceListUpdate:
        if device is None:
            return DeviceListUpdate(user_id, device_id, stream_id, prev_ids, deleted=True)
        return DeviceListUpdate(
            user_id,
            device_id,
            stream_id,
            prev_ids,
            device_display_name=device.get("device_display_name") if self._settings.device_names else None,
            keys=device.get("keys"),
        )

    def _others(self, servers: Collection[str]) -> set[str]:
        return {name for name in servers if name != self._server_name and self._settings.may_talk_to(name)}


def _signing_key_update(user_id: str, devices: Mapping[str, Any]) -> SigningKeyUpdate:
    return SigningKeyUpdate(user_id, devices.get("master_key"), devices.get("self_signing_key"))


def _addressed(servers: Iterable[str], edus: Sequence[Mapping[str, Any]]) -> list[QueuedEdu]:
    packed = [orjson.dumps(edu) for edu in edus]
    return [QueuedEdu(server_name, edu) for server_name in sorted(servers) for edu in packed]
