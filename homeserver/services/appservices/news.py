"""What there is to tell a service beside events: typing, receipts, presence, messages to devices, keys.

Only who is concerned is noted here; what it is is read when a transaction is made of it.

Spec: application-service-api #pushing-ephemeral-data
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.storage.device_lists import DEVICE_LIST
from homeserver.storage.one_time_keys import ONE_TIME_KEYS
from homeserver.storage.receipts import READ_PRIVATE, Receipt
from homeserver.storage.to_device import TO_DEVICE, load_devices_of, load_waiting

if TYPE_CHECKING:
    from homeserver.services.appservices.appservice import Appservice
    from homeserver.services.appservices.interest import Interest
    from homeserver.services.devices.device_news import DeviceNews
    from homeserver.services.presence import Presence
    from homeserver.services.typing import Typing
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database
    from homeserver.storage.events import StoredEvent

_MOST_NOTED = 1_000
_MOST_MESSAGES = 100

Done = list[tuple[str, str, int]]


class News:
    """The news of one service. `wake` is called when there are some."""

    def __init__(
        self,
        appservice: Appservice,
        interest: Interest,
        database: Database,
        typing: Typing,
        presence: Presence,
        devices: DeviceNews,
        wake: Callable[[], None],
    ) -> None:
        self._appservice = appservice
        self._interest = interest
        self._database = database
        self._typing = typing
        self._presence = presence
        self._devices = devices
        self._wake = wake
        self._typing_rooms: set[str] = set()
        self._present: set[str] = set()
        self._receipts: dict[tuple[str, str, str, str], Receipt] = {}
        self._to_device: set[str] = set()
        self._key_counts: set[str] = set()
        self._device_lists: set[str] = set()

    @property
    def is_waiting(self) -> bool:
        """Whether there is anything but presence, which waits for its turn."""
        return bool(self._typing_rooms or self._receipts or self._to_device or self._key_counts or self._device_lists)

    def expect_messages(self, user_ids: Iterable[str]) -> None:
        """Messages wait for devices of these users, since before this process."""
        if self._appservice.wants_ephemeral:
            self._to_device.update(user_id for user_id in user_ids if self._appservice.owns_alone(user_id))

    def follow(self, changes: Iterable[Change]) -> None:
        """Note what was committed."""
        appservice = self._appservice
        if not (appservice.wants_ephemeral or appservice.wants_encryption_news):
            return
        for change in changes:
            if isinstance(change.detail, Receipt):
                self._note_receipt(change.detail)
            elif change.subject == TO_DEVICE and appservice.wants_ephemeral:
                self._to_device.update(user for user in change.user_ids if appservice.owns_alone(user))
            elif appservice.wants_encryption_news and change.subject == ONE_TIME_KEYS:
                self._key_counts.update(user for user in change.user_ids if appservice.owns_alone(user))
            elif appservice.wants_encryption_news and change.subject == DEVICE_LIST:
                _note(self._device_lists, *change.user_ids)

    def typing_changed(self, room_id: str) -> None:
        if self._appservice.wants_ephemeral:
            _note(self._typing_rooms, room_id)
            self._wake()

    def presence_changed(self, user_id: str) -> None:
        """To be told with the next transaction that is made; no reason to make one at once."""
        if self._appservice.wants_ephemeral:
            _note(self._present, user_id)

    def spread_presence(self) -> None:
        """Presence has waited long enough."""
        if self._present:
            self._wake()

    async def take(self, events: Sequence[StoredEvent], after: int, up_to: int) -> tuple[dict[str, Any], Done]:
        """The keys of a transaction beside `events`, and the messages that are done with once it has arrived.

        The transaction covers the log between two positions; what comes later stays for the next.
        """
        body: dict[str, Any] = {}
        ephemeral = [*await self._take_typing(), *await self._take_receipts(), *await self._take_presence()]
        if ephemeral:
            body.update(self._named("ephemeral", "de.sorunome.msc2409.ephemeral", ephemeral))
        messages, done, concerned = await self._take_messages(after, up_to)
        if messages:
            body.update(self._named("to_device", "de.sorunome.msc2409.to_device", messages))
        if self._appservice.wants_encryption_news:
            body.update(await self._take_encryption_news(events, concerned))
        return body, done

    def _named(self, stable: str, unstable: str, value: Any) -> dict[str, Any]:
        """A key under the names that the registration asks for."""
        named = {}
        if self._appservice.wants_stable_names:
            named[stable] = value
        if self._appservice.wants_unstable_names:
            named[unstable] = value
        return named

    # Ephemeral events

    def _note_receipt(self, receipt: Receipt) -> None:
        if not self._appservice.wants_ephemeral or len(self._receipts) >= _MOST_NOTED:
            return
        if receipt.receipt_type == READ_PRIVATE and not self._appservice.owns(receipt.user_id):
            return
        key = (receipt.room_id, receipt.user_id, receipt.receipt_type, receipt.thread_id)
        self._receipts[key] = receipt

    async def _take_typing(self) -> list[dict[str, Any]]:
        rooms, self._typing_rooms = self._typing_rooms, set()
        return [
            {"type": "m.typing", "room_id": room_id, "content": {"user_ids": self._typing.users_in(room_id)}}
            for room_id in sorted(rooms)
            if await self._interest.in_room(room_id)
        ]

    async def _take_receipts(self) -> list[dict[str, Any]]:
        receipts, self._receipts = self._receipts, {}
        by_room: dict[str, dict[str, Any]] = {}
        for receipt in receipts.values():
            if not await self._interest.in_room(receipt.room_id):
                continue
            told: dict[str, Any] = {"ts": receipt.received_ms}
            if receipt.thread_id:
                told["thread_id"] = receipt.thread_id
            of_event = by_room.setdefault(receipt.room_id, {}).setdefault(receipt.event_id, {})
            of_event.setdefault(receipt.receipt_type, {})[receipt.user_id] = told
        return [{"type": "m.receipt", "room_id": room_id, "content": content} for room_id, content in by_room.items()]

    async def _take_presence(self) -> list[dict[str, Any]]:
        present, self._present = self._present, set()
        return [
            {"type": "m.presence", "sender": user_id, "content": self._presence.content_of(user_id)}
            for user_id in sorted(present)
            if await self._interest.shares_room_with(user_id)
        ]

    # Encryption

    async def _take_messages(self, after: int, up_to: int) -> tuple[list[dict[str, Any]], Done, set[tuple[str, str]]]:
        """Messages to devices. A service with MSC3202 is the device: what it has is done with, as after a sync."""
        users, self._to_device = self._to_device, set()
        is_the_device = self._appservice.wants_encryption_news
        messages: list[dict[str, Any]] = []
        done: Done = []
        devices = await self._database.read(load_devices_of, users) if users else {}
        for user_id, device_ids in devices.items():
            for device_id in device_ids:
                since = 0 if is_the_device else after
                found = await self._database.read(load_waiting, user_id, device_id, since, _MOST_MESSAGES + 1)
                waiting = [one for one in found.messages[:_MOST_MESSAGES] if one[0] <= up_to]
                if len(found.messages) > len(waiting) and (is_the_device or found.messages[-1][0] > up_to):
                    self._to_device.add(user_id)
                messages.extend(
                    {**orjson.loads(message), "to_user_id": user_id, "to_device_id": device_id}
                    for _, message in waiting
                )
                if waiting:
                    done.append((user_id, device_id, waiting[-1][0]))
        concerned = {(user_id, device_id) for user_id, device_id, _ in done}
        return messages, done if is_the_device else [], concerned

    async def _take_encryption_news(
        self, events: Sequence[StoredEvent], concerned: set[tuple[str, str]]
    ) -> dict[str, Any]:
        """Spec: MSC3202, under its own names and those to come."""
        users, self._key_counts = self._key_counts, set()
        devices = await self._database.read(load_devices_of, users) if users else {}
        concerned |= {(user_id, device_id) for user_id, ids in devices.items() for device_id in ids}
        counts: dict[str, dict[str, Any]] = {}
        fallbacks: dict[str, dict[str, Any]] = {}
        for user_id, device_id in sorted(concerned):
            keys = await self._devices.key_counts(user_id, device_id)
            counts.setdefault(user_id, {})[device_id] = dict(keys.one_time)
            fallbacks.setdefault(user_id, {})[device_id] = list(keys.unused_fallback)
        body: dict[str, Any] = {}
        if counts:
            for name in ("device_one_time_keys_count", "device_one_time_key_counts"):
                body[f"org.matrix.msc3202.{name}"] = counts
            body["org.matrix.msc3202.device_unused_fallback_key_types"] = fallbacks
        lists = await self._take_device_lists(events)
        if events or body or any(lists.values()):
            # Libraries read it without a look whether it is there.
            body["org.matrix.msc3202.device_lists"] = lists
        return body

    async def _take_device_lists(self, events: Sequence[StoredEvent]) -> dict[str, list[str]]:
        changed, self._device_lists = self._device_lists, set()
        gone: set[str] = set()
        for stored in events:
            user_id, membership = stored.event.state_key, stored.event.membership
            if user_id is not None and membership == "join":
                changed.add(user_id)
            elif user_id is not None and membership in {"leave", "ban"}:
                gone.add(user_id)
        changed = {user_id for user_id in changed if await self._interest.shares_room_with(user_id)}
        left = {user_id for user_id in gone - changed if not await self._interest.shares_room_with(user_id)}
        return {"changed": sorted(changed), "left": sorted(left)}


def _note(noted: set[str], *names: str) -> None:
    """Keep names, not without end: nobody can use so many."""
    if len(noted) < _MOST_NOTED:
        noted.update(names)
