"""What other servers tell of their users' devices and keys: that they changed.

Of the keys nothing is kept: they are asked for when somebody needs them. When an update refers to one that never came,
the whole list is fetched, to learn what else has changed.

Spec: server-server-api #device-management
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

import structlog

from homeserver.protocol.edus import DeviceListUpdate, SigningKeyUpdate
from homeserver.protocol.identifiers import server_name_of
from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.runtime.clock import Clock
from homeserver.storage.database import Database
from homeserver.storage.device_lists import CROSS_SIGNING, note_device_list_change
from homeserver.storage.memberships import is_joined_anywhere
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError
from homeserver_federation.ports import ServerClient

_LONGEST_DEVICE_ID = 255
_MOST_USERS = 20_000
_MOST_STREAM_IDS = 100
_MOST_DEVICES = 500
_MOST_AT_ONCE = 20
_TIMEOUT_MS = 15_000
_log = structlog.get_logger("homeserver.federation.device_lists")


@dataclass(frozen=True, slots=True)
class _Seen:
    """The updates of a user that came: all up to `up_to`, and `later`."""

    up_to: int
    later: frozenset[int]

    def has(self, stream_id: int) -> bool:
        return stream_id <= self.up_to or stream_id in self.later

    def with_update(self, stream_id: int) -> _Seen:
        later = sorted({*self.later, stream_id})
        return _Seen(self.up_to, frozenset(later[-_MOST_STREAM_IDS:]))


class ReceiveDeviceLists:
    """Notes changes, for the clients of those who share rooms with the user."""

    def __init__(self, database: Database, client: ServerClient, background: BackgroundTasks, clock: Clock) -> None:
        self._database = database
        self._client = client
        self._background = background
        self._clock = clock
        # In memory only: clients have been told of whatever came before a restart.
        self._seen: BoundedCache[str, _Seen] = BoundedCache("device_list_updates", _MOST_USERS)
        self._fetching: set[str] = set()

    async def receive_device_list_update(self, update: DeviceListUpdate) -> None:
        """A device was added, changed or deleted."""
        if _is_device_id(update.device_id):
            await self._note(update.user_id, [update.device_id])
        if await self._database.read(is_joined_anywhere, update.user_id):
            self._look_for_gaps(update)

    async def receive_signing_key_update(self, update: SigningKeyUpdate) -> None:
        """The cross-signing keys changed."""
        await self._note(update.user_id, [CROSS_SIGNING])

    def _look_for_gaps(self, update: DeviceListUpdate) -> None:
        seen = self._seen.find(update.user_id)
        if seen is None:
            self._seen.put(update.user_id, _Seen(update.stream_id, frozenset()))
            return
        self._seen.put(update.user_id, seen.with_update(update.stream_id))
        if all(seen.has(prev_id) for prev_id in update.prev_ids):
            return
        if update.user_id in self._fetching or len(self._fetching) >= _MOST_AT_ONCE:
            return
        self._fetching.add(update.user_id)
        self._background.start("device-list", self._fetch(update.user_id))

    async def _fetch(self, user_id: str) -> None:
        try:
            path = federation_path("v1", "user", "devices", user_id)
            answer = await self._client.get(server_name_of(user_id), path, timeout_ms=_TIMEOUT_MS)
        except FederationError as error:
            _log.info("device list not fetched", user_id=user_id, reason=str(error))
            return
        finally:
            self._fetching.discard(user_id)
        if not isinstance(answer, dict) or type(answer.get("stream_id")) is not int:
            return
        self._seen.put(user_id, _Seen(answer["stream_id"], frozenset()))
        devices = answer.get("devices")
        told = devices[:_MOST_DEVICES] if isinstance(devices, list) else []
        named = [device.get("device_id") for device in told if isinstance(device, dict)]
        await self._note(user_id, [CROSS_SIGNING, *(id_ for id_ in named if _is_device_id(id_))])

    async def _note(self, user_id: str, device_ids: list[str]) -> None:
        # Only of users somebody here may have to do with, lest other servers fill the table.
        if await self._database.read(is_joined_anywhere, user_id):
            await self._database.write(note_device_list_change, user_id, device_ids, self._clock.now_ms())


def _is_device_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_DEVICE_ID and "\x00" not in value
