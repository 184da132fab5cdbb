"""What end-to-end encryption adds to a sync: messages for the device, changed device lists, and key counts.

Nearly every sync has none of it, and is told so from memory.

Spec: client-server-api #e2e-extensions-to-sync
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.services.devices.device_keys import with_usual_algorithm
from homeserver.services.sync.request import KeyCounts, ToDevice
from homeserver.storage.changes import Change
from homeserver.storage.database import Database
from homeserver.storage.device_lists import DEVICE_LIST, load_changed_users
from homeserver.storage.one_time_keys import ONE_TIME_KEYS, load_key_counts
from homeserver.storage.to_device import TO_DEVICE, delete_delivered, load_waiting

MOST_AT_ONCE = 100


class DeviceNews:
    """Implements the `DeviceNews` of sync. `follow` must hear of every commit before the sync hub does.

    Both caches hold one container for each user. A change drops the container; a load that was under way then fills
    one that nobody looks at any more, so that what it read before the change is never remembered.
    """

    def __init__(self, database: Database, *, cache_size: int = 50_000) -> None:
        self._database = database
        self.idle_devices: BoundedCache[str, set[str]] = BoundedCache("idle_devices", cache_size)
        self.key_counts_cache: BoundedCache[str, dict[str, KeyCounts]] = BoundedCache("key_counts", cache_size)

    async def to_device(self, user_id: str, device_id: str, after: int, up_to: int) -> ToDevice:
        """Messages after a position, at most `MOST_AT_ONCE`; those up to `after` have arrived and are deleted."""
        idle = self.idle_devices.find(user_id)
        if idle is None:
            idle = set()
            self.idle_devices.put(user_id, idle)
        elif device_id in idle:
            return ToDevice([], up_to)
        waiting = await self._database.read(load_waiting, user_id, device_id, after, MOST_AT_ONCE + 1)
        if waiting.has_old:
            await self._database.write(delete_delivered, user_id, device_id, after)
        if not waiting.messages:
            idle.add(device_id)
            return ToDevice([], up_to)
        due = [(position, message) for position, message in waiting.messages if position <= up_to]
        more = len(due) > MOST_AT_ONCE
        due = due[:MOST_AT_ONCE]
        return ToDevice([orjson.Fragment(message) for _, message in due], due[-1][0] if more else up_to, more)

    async def changed_device_lists(self, user_id: str, after: int, up_to: int) -> set[str]:
        """Users sharing a room with this one, and the user, whose devices or keys changed in between."""
        return await self._database.read(load_changed_users, user_id, after, up_to)

    async def key_counts(self, user_id: str, device_id: str) -> KeyCounts:
        """What is left of a device's one-time and fallback keys."""
        by_device = self.key_counts_cache.find(user_id)
        if by_device is not None:
            known = by_device.get(device_id)
            if known is not None:
                return known
        else:
            by_device = {}
            self.key_counts_cache.put(user_id, by_device)
        counts = await self._database.read(load_key_counts, user_id, device_id)
        known = KeyCounts(with_usual_algorithm(counts.one_time), counts.unused_fallback)
        by_device[device_id] = known
        return known

    def follow(self, changes: Iterable[Change]) -> None:
        """Forget what changed."""
        for change in changes:
            subject = change.subject
            if subject == TO_DEVICE:
                for user_id in change.user_ids:
                    self.idle_devices.drop(user_id)
            elif subject in {ONE_TIME_KEYS, DEVICE_LIST}:
                for user_id in change.user_ids:
                    self.key_counts_cache.drop(user_id)

    def forget_all(self) -> None:
        """Nobody knows what changed."""
        self.idle_devices.clear()
        self.key_counts_cache.clear()
