"""Follows the log and has other servers sent what concerns them.

What it decides is stored in the transaction that moves its position on: a crash loses nothing, and repeats nothing
but transactions under way, as they were.

Spec: server-server-api #transactions
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.receipt import Standing
from homeserver.services.followers import PAUSE_IN_A_RUSH_S
from homeserver.storage.events import StoredEvent
from homeserver.storage.memberships import load_local_members
from homeserver.storage.outbound_events import (
    OutboundEvent,
    delete_sent_events,
    find_relays,
    note_relay,
    queue_events,
)
from homeserver.storage.outbound_transactions import (
    OUTBOUND_EDU,
    QueuedEdu,
    count_waiting_events,
    delete_old_edus,
    load_servers_to_serve,
    queue_edus,
)
from homeserver_federation.outbound.destination_queue import DestinationQueue, QueueParts, Slots

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.metrics import Metrics
    from homeserver.runtime.randomness import Randomness
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database, Transaction
    from homeserver_config.sections.federation import FederationSettings
    from homeserver_federation.back_off import BackOff
    from homeserver_federation.outbound.device_lists import DeviceListUpdates
    from homeserver_federation.outbound.room_servers import RoomServers
    from homeserver_federation.outbound.transmission import Transmission
    from homeserver_federation.outbound.unsent import Unsent

FOLLOWER = "federation_sender"
_RETRY_EVERY_S = 1.0
_LOOK_EVERY_S = 60.0
_RETENTION_EVERY_S = 3_600.0
_MOST_SHOWN = 20
_GIVE_UP_AFTER_MS = 30 * 86_400_000


class FederationSender:
    """A follower of the log (see `services.followers`), and the queues it fills."""

    name = FOLLOWER
    batch_size = 100
    pause_s = PAUSE_IN_A_RUSH_S
    has_interest = True

    def __init__(
        self,
        server_name: str,
        settings: FederationSettings,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        background: BackgroundTasks,
        metrics: Metrics,
        back_off: BackOff,
        transmission: Transmission,
        room_servers: RoomServers,
        device_lists: DeviceListUpdates,
    ) -> None:
        self._server_name = server_name
        self._settings = settings
        self._database = database
        self._clock = clock
        self._background = background
        self._back_off = back_off
        self._room_servers = room_servers
        self._device_lists = device_lists
        self._queues: dict[str, DestinationQueue] = {}
        self._stopping = False
        sent = metrics.counters("federation_transactions", "Transactions sent to other servers.", ["outcome"])
        metrics.gauge_of("federation_queues", "Servers for which something waits.", lambda: len(self._queues))
        self._waiting: dict[str, int] = {}
        metrics.gauge_of("federation_failing_servers", "Servers that cannot be reached.", lambda: back_off.failing)
        metrics.gauges_of(
            "federation_failing_seconds",
            f"For how long the {_MOST_SHOWN} servers that have failed for longest have done so.",
            "server",
            lambda: back_off.longest_failing_s(_MOST_SHOWN),
        )
        metrics.gauges_of(
            "federation_waiting_events",
            f"Events that wait for the {_MOST_SHOWN} servers that most wait for, counted once a minute.",
            "server",
            lambda: self._waiting,
        )
        self._parts = QueueParts(
            database,
            transmission,
            back_off,
            background,
            clock,
            randomness,
            Slots(),
            self._rest,
            lambda delivered: sent.child("delivered" if delivered else "failed").inc(),
        )

    async def start(self) -> None:
        """Take up what an earlier run left, a few servers at a time. The log's follower is started apart."""
        self._back_off.on_recovery(self._recovered)
        await self.look_for_work()
        self._background.run_every("federation-retries", _RETRY_EVERY_S, self.retry)
        self._background.run_every("federation-outbox", _LOOK_EVERY_S, self.look_for_work)
        self._background.run_every("federation-retention", _RETENTION_EVERY_S, self.forget_old)

    def stop(self) -> None:
        """Begin nothing new; what is under way ends with the background tasks, and is taken up at the next start."""
        self._stopping = True

    async def handle(self, events: Sequence[StoredEvent], up_to: int) -> None:
        """Queue those of the events that other servers are to get."""
        relays = await self._relays_among(events)
        outbound: list[OutboundEvent] = []
        for stored in events:
            servers = await self._servers_for(stored, relays)
            if servers and stored.position is not None:
                outbound.append(OutboundEvent(stored.position, stored.nid, servers))
        introductions = await self._device_lists.introductions(events)
        await self._database.write(_store, outbound, relays, up_to, introductions, self._clock.now_ms())
        for server_name in frozenset().union(*(one.servers for one in outbound)):
            self.wake(server_name)

    async def relay_once_accepted(self, event_id: str) -> None:
        """Before appending another server's event that came to us alone (a join, leave or knock through this server):
        have it passed on to the other servers in the room once it is in the log.
        """
        await self._database.write(note_relay, event_id, self._clock.now_ms())

    def follow(self, changes: Iterable[Change]) -> None:
        """Hear of EDUs that were stored for a server."""
        for change in changes:
            if change.subject == OUTBOUND_EDU and isinstance(change.detail, str):
                self.wake(change.detail)

    def wake(self, server_name: str) -> None:
        """Something for a server has been stored."""
        queue = self._queue_of(server_name)
        if queue is not None:
            queue.wake()

    def wake_with(
        self, server_names: Collection[str], note: Callable[[Unsent], None], *, though_paused: bool = False
    ) -> None:
        """Put news that is not stored into queues: `note(unsent)` is called for each.

        `though_paused`: it is still of interest when a server that cannot be reached comes back.
        """
        for server_name in server_names:
            if self._back_off.is_paused(server_name) and not though_paused:
                continue
            queue = self._queue_of(server_name)
            if queue is not None:
                note(queue.unsent)
                queue.wake()

    async def retry(self) -> None:
        """Try servers again whose pause is over."""
        for queue in list(self._queues.values()):
            if not queue.is_running and not self._back_off.is_paused(queue.server_name):
                queue.wake(catching_up=True)

    async def look_for_work(self) -> None:
        """Find what was stored without our hearing of it: before the start, or by another process."""
        for server_name in sorted(await self._database.read(load_servers_to_serve)):
            queue = self._queue_of(server_name)
            if queue is not None and not queue.is_running:
                queue.wake(catching_up=True)
        self._waiting = await self._database.read(count_waiting_events, _MOST_SHOWN)

    async def forget_old(self) -> None:
        """Retention: what has arrived everywhere, and what is for servers that have been away for a month."""
        before_ms = self._clock.now_ms() - _GIVE_UP_AFTER_MS
        given_up = set(self._back_off.servers_failing_since(before_ms))
        await self._database.write(delete_sent_events, given_up, before_ms)
        await self._database.write(delete_old_edus, before_ms)
        await self._back_off.forget_old()

    async def _relays_among(self, events: Sequence[StoredEvent]) -> set[str]:
        foreign = [
            stored.event_id
            for stored in events
            if stored.event.membership is not None and server_name_of(stored.event.sender) != self._server_name
        ]
        return await self._database.read(find_relays, foreign) if foreign else set()

    async def _servers_for(self, stored: StoredEvent, relays: set[str]) -> frozenset[str]:
        """The servers that are to get an event: of our users' events, all in the room."""
        origin = server_name_of(stored.event.sender)
        if stored.standing is not Standing.ACCEPTED or (origin != self._server_name and stored.event_id not in relays):
            return frozenset()
        if await self._came_through_another(stored):
            return frozenset()
        servers = await self._room_servers.at_event(stored)
        others = servers - {self._server_name, origin}
        return frozenset(server_name for server_name in others if self._settings.may_talk_to(server_name))

    async def _came_through_another(self, stored: StoredEvent) -> bool:
        """Whether it is the join by which this server entered the room: the server it went through passes it on."""
        event = stored.event
        if event.membership != "join" or event.state_key != event.sender:
            return False
        local = await self._database.read(load_local_members, event.room_id)
        if any(membership == "join" for user_id, membership in local.items() if user_id != event.sender):
            return False
        return not await self._device_lists.was_joined(stored, event.sender)

    def _queue_of(self, server_name: str) -> DestinationQueue | None:
        if self._stopping or server_name == self._server_name or not self._settings.may_talk_to(server_name):
            return None
        queue = self._queues.get(server_name)
        if queue is None:
            queue = self._queues[server_name] = DestinationQueue(server_name, self._parts)
        return queue

    def _rest(self, queue: DestinationQueue) -> None:
        if queue.is_idle:
            self._queues.pop(queue.server_name, None)
        elif not self._stopping:
            self._wake_if_possible(queue)

    def _wake_if_possible(self, queue: DestinationQueue) -> None:
        if not self._back_off.is_paused(queue.server_name) and queue.unsent:
            queue.wake()

    def _recovered(self, server_name: str) -> None:
        queue = self._queues.get(server_name)
        if queue is not None and not queue.is_running:
            queue.wake(catching_up=True)


def _store(
    tx: Transaction,
    outbound: Sequence[OutboundEvent],
    relayed: Collection[str],
    up_to: int,
    edus: Sequence[QueuedEdu],
    now_ms: int,
) -> None:
    """All that follows from a batch of events, together with the position behind it."""
    queue_events(tx, outbound, relayed, FOLLOWER, up_to)
    queue_edus(tx, edus, now_ms)
