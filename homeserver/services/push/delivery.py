"""Delivers queued notifications: one worker for each pusher with something to say, in order, retried with pauses.

How often it failed and when to try again is stored with the pusher, so that a restart does not hammer a gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from homeserver.plugin_api.push import DigestTransport, Notification
from homeserver.services.push.pushers import as_pusher
from homeserver.storage import pushers as rows
from homeserver.storage.receipts import READ, READ_PRIVATE, Receipt
from homeserver.storage.unread import MAIN, load_read_up_to

if TYPE_CHECKING:
    from homeserver.plugin_api.hooks import Hooks
    from homeserver.plugin_api.push import PushTransport
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.push.payloads import NotificationPayloads
    from homeserver.services.push.pushers import Pushers
    from homeserver.services.rooms.event_store import EventStore
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database
    from homeserver.storage.pushers import Queued, StoredPusher
    from homeserver_config.sections.push import PushSettings

_AT_ONCE = 50
_BATCH = 20
_MOST_IN_A_DIGEST = 200
_FIRST_PAUSE_MS = 1_000
_LONGEST_PAUSE_MS = 3_600_000
_log = structlog.get_logger("homeserver.push")


class PushDelivery:
    """The workers of this process."""

    def __init__(
        self,
        settings: PushSettings,
        database: Database,
        events: EventStore,
        pushers: Pushers,
        payloads: NotificationPayloads,
        transports: Mapping[str, PushTransport],
        hooks: Hooks,
        clock: Clock,
        randomness: Randomness,
        background: BackgroundTasks,
    ) -> None:
        self._settings = settings
        self._database = database
        self._events = events
        self._pushers = pushers
        self._payloads = payloads
        self._transports = transports
        self._hooks = hooks
        self._clock = clock
        self._randomness = randomness
        self._background = background
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._working: set[int] = set()
        self._again: set[int] = set()
        self._badges: set[int] = set()
        self._told: dict[int, int] = {}

    async def start(self) -> None:
        """Go on with what was queued when the server stopped."""
        self.wake(await self._database.read(rows.load_waiting))

    def wake(self, nids: Iterable[int]) -> None:
        """There is something to deliver to these pushers."""
        for nid in nids:
            if nid in self._working:
                self._again.add(nid)
            else:
                self._working.add(nid)
                self._background.start(f"pusher {nid}", self._work(nid))

    def follow(self, changes: Sequence[Change]) -> None:
        """Who has read something on one device is to see fewer unread messages on the others."""
        for change in changes:
            receipt = change.detail
            if isinstance(receipt, Receipt) and receipt.receipt_type in {READ, READ_PRIVATE}:
                nids = self._pushers.by_user.get(receipt.user_id, ())
                self._badges.update(nids)
                self.wake(nids)

    async def _work(self, nid: int) -> None:
        try:
            while True:
                self._again.discard(nid)
                if not await self._deliver_some(nid) and nid not in self._again:
                    break
        finally:
            self._working.discard(nid)

    async def _deliver_some(self, nid: int) -> bool:
        """Deliver what waits; False when nothing does."""
        pusher = await self._database.read(rows.find_pusher, nid)
        if pusher is None:
            await self._database.write(rows.forget_pusher, nid)
            self._badges.discard(nid)
            self._told.pop(nid, None)
            return False
        if not pusher.enabled:
            await self._database.write(rows.drop_queue, nid)
            return False
        wait_ms = (pusher.retry_ms or 0) - self._clock.now_ms()
        if wait_ms > 0:
            await self._clock.sleep(wait_ms / 1000)
        transport = self._transports.get(pusher.kind)
        if isinstance(transport, DigestTransport):
            return await self._deliver_digest(pusher, transport)
        queued = await self._database.read(rows.load_queued, nid, _BATCH)
        if not queued:
            return await self._deliver_badge(pusher)
        for one in queued:
            if not await self._deliver(pusher, one):
                break
        return True

    async def _deliver(self, pusher: StoredPusher, queued: Queued) -> bool:
        """Deliver one notification; False if it has to wait, or the pusher is gone."""
        stored = await self._events.find(queued.event_id)
        if stored is None or stored.redacted_by is not None or await self._is_read(pusher.user_id, queued):
            await self._database.write(rows.finish_queued, pusher.nid, queued.position)
            return True
        notification = await self._payloads.of_event(stored.event, pusher.user_id, queued.tweaks)
        if not await self._hand_over(pusher, notification):
            return False
        await self._database.write(rows.finish_queued, pusher.nid, queued.position)
        return True

    async def _deliver_digest(self, pusher: StoredPusher, transport: DigestTransport) -> bool:
        """Wait until what waits is due, and deliver what is still unread of it; False when nothing waits."""
        self._badges.discard(pusher.nid)
        queued = await self._database.read(rows.load_queued, pusher.nid, _MOST_IN_A_DIGEST)
        notifications: list[Notification] = []
        done: list[Queued] = []
        for one in queued:
            stored = await self._events.find(one.event_id)
            if stored is None or stored.redacted_by is not None or await self._is_read(pusher.user_id, one):
                await self._database.write(rows.finish_queued, pusher.nid, one.position)
                continue
            notification = await self._payloads.of_event(stored.event, pusher.user_id, one.tweaks)
            changed = await self._hooks.transform_push_payload(as_pusher(pusher), notification)
            done.append(one)
            if changed is not None:
                notifications.append(changed)
        if not done:
            return False
        wait_ms = await transport.due_ms(as_pusher(pusher), done[0].created_ms) - self._clock.now_ms()
        if wait_ms > 0:
            # Much may be read, or the pusher gone, when it is due.
            await self._clock.sleep(wait_ms / 1000)
            return True
        if notifications and not await self._hand_over_digest(pusher, transport, notifications):
            return True
        for one in done:
            await self._database.write(rows.finish_queued, pusher.nid, one.position)
        return True

    async def _hand_over_digest(
        self, pusher: StoredPusher, transport: DigestTransport, notifications: Sequence[Notification]
    ) -> bool:
        try:
            async with self._slots, asyncio.timeout(self._settings.timeout.seconds):
                rejected = await transport.deliver_digest(as_pusher(pusher), notifications)
        except Exception as error:  # noqa: BLE001 (a plugin's transport may raise anything; all of it means: later)
            await self._postpone(pusher, notifications[0], error)
            return False
        await self._reject(pusher, rejected)
        return True

    async def _deliver_badge(self, pusher: StoredPusher) -> bool:
        """Tell a pusher of changed counts, once; they come with the next notification anyway. Always False."""
        if pusher.nid not in self._badges:
            return False
        self._badges.discard(pusher.nid)
        notification = await self._payloads.of_counts(pusher.user_id)
        if self._told.get(pusher.nid) == notification.payload["counts"]["unread"]:
            return False
        await self._hand_over(pusher, notification)
        return False

    async def _hand_over(self, pusher: StoredPusher, notification: Notification) -> bool:
        seen = as_pusher(pusher)
        changed = await self._hooks.transform_push_payload(seen, notification)
        transport = self._transports.get(pusher.kind)
        if changed is None or transport is None:
            return True
        try:
            async with self._slots, asyncio.timeout(self._settings.timeout.seconds):
                rejected = await transport.deliver(seen, changed)
        except Exception as error:  # noqa: BLE001 (a plugin's transport may raise anything; all of it means: later)
            await self._postpone(pusher, notification, error)
            return False
        self._told[pusher.nid] = int(changed.payload.get("counts", {}).get("unread", 0))
        await self._reject(pusher, rejected)
        return pusher.pushkey not in rejected

    async def _reject(self, pusher: StoredPusher, rejected: Collection[str]) -> None:
        if rejected:
            await self._database.write(rows.delete_rejected, pusher.app_id, list(rejected))
            await self._pushers.reload(pusher.user_id)
            _log.info("pusher rejected by its gateway", user_id=pusher.user_id, app_id=pusher.app_id)

    async def _postpone(self, pusher: StoredPusher, notification: Notification, error: Exception) -> None:
        if notification.event_id is None:
            return
        now_ms = self._clock.now_ms()
        pause_ms = min(_FIRST_PAUSE_MS << min(pusher.failures, 20), _LONGEST_PAUSE_MS)
        retry_ms = now_ms + round(pause_ms * self._randomness.uniform(0.9, 1.1))
        await self._database.write(rows.set_retry, pusher.nid, pusher.failures + 1, retry_ms)
        dropped = await self._database.write(rows.drop_old, pusher.nid, now_ms - self._settings.give_up_after)
        _log.warning(
            "push notification failed",
            user_id=pusher.user_id,
            app_id=pusher.app_id,
            failures=pusher.failures + 1,
            dropped=dropped,
            reason=str(error) or type(error).__name__,
        )

    async def _is_read(self, user_id: str, queued: Queued) -> bool:
        stored = await self._events.find(queued.event_id)
        if stored is None:
            return True
        read = await self._database.read(load_read_up_to, stored.event.room_id, user_id)
        return read.covers(queued.position, stored.thread_root or MAIN)
