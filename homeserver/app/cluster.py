"""Makes one process of a homeserver one of many on the same database: commits and notes of the others, leases.

Nothing of it exists in a server of one process.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from homeserver.app.memory import Memory
from homeserver.services.cluster.bus import Bus, NoBus, RedisBus
from homeserver.services.cluster.commit_relay import CommitRelay
from homeserver.services.cluster.leases import Leases, OneProcess, SharedLeases
from homeserver.services.cluster.notes import Notes
from homeserver.storage.database_id import get_or_create_id

if TYPE_CHECKING:
    from homeserver.app.homeserver import Homeserver
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.metrics import Metrics
    from homeserver.runtime.randomness import Randomness
    from homeserver.storage.database import Database
    from homeserver_config.settings import Settings


class Cluster:
    """This process among the others. `bus` replaces Redis, for tests."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        metrics: Metrics,
        background: BackgroundTasks,
        bus: Bus | None = None,
    ) -> None:
        self.is_shared = settings.cluster.enabled or bus is not None
        self._database = database
        self._background = background
        self.leases: Leases = OneProcess()
        if not self.is_shared:
            return
        if bus is None and settings.database_url.startswith("sqlite"):
            raise ValueError("Several processes need PostgreSQL: set database.url, or cluster.enabled to false.")
        redis_url = settings.cluster.redis_url
        if bus is None:
            bus = RedisBus(redis_url.reveal()) if redis_url is not None else NoBus()
        self._bus = bus
        self._notes = Notes(bus, randomness)
        self._relay = CommitRelay(database, bus, clock, metrics, self._notes.publish_commit)
        self.leases = SharedLeases(database, self._notes.name, background, _stop_this_process)

    async def join(self, server: Homeserver) -> None:
        """Begin, once the database is open and before anything else begins."""
        if not self.is_shared:
            return
        followers = Memory(server)
        await self._relay.start(followers.apply, followers.missed, self._background)
        self._database.relay_commits(self._relay.commit)
        database_id = await self._database.write(get_or_create_id, self._notes.name)
        await self._notes.start(self._relay.receive, self._background, database_id)
        self._exchange_notes(server)

    async def catch_up(self) -> bool:
        """Hear of all that other processes have committed by now; False if there was nothing new."""
        return self.is_shared and await self._relay.catch_up()

    async def leave(self) -> None:
        """Background work has ended: let others take over, and let go of all connections."""
        await self.leases.release()

    async def close(self) -> None:
        """Let go of all connections."""
        if self.is_shared:
            await self._bus.stop()

    def _exchange_notes(self, server: Homeserver) -> None:
        notes, typing, presence = self._notes, server.sync.typing, server.sync.presence
        server.tokens.on_forget(lambda user_id: notes.tell("account", user_id))
        notes.on("account", lambda user_id: server.tokens.forget_user(user_id, told=True))
        typing.tell_processes(lambda *notice: notes.tell("typing", *notice))
        notes.on("typing", lambda *notice: typing.note(*notice, told=True))
        presence.tell_processes(lambda user_id, known: notes.tell("presence", user_id, *known))
        notes.on("presence", presence.hear)
        pushers = server.plugins.pushers
        pushers.on_change(lambda user_id: notes.tell("pushers", user_id))
        notes.on("pushers", lambda user_id: self._background.start("pushers", pushers.reload(user_id, told=True)))
        services = server.appservices.services
        services.on_change(lambda: notes.tell("application_services"))
        notes.on("application_services", lambda: self._background.start("appservices", services.take_over()))


def _stop_this_process() -> None:
    """As an administrator would: requests under way may finish."""
    os.kill(os.getpid(), signal.SIGTERM)
