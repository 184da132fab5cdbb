"""Builds application services: who they are first, because accounts ask for it; their delivery over the finished core.

Their requests go out through a client of their own, for which private networks are in bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from homeserver import __version__
from homeserver.runtime.http_client import HttpClient
from homeserver.services.appservices.appservices import Appservices
from homeserver.services.appservices.delivery import DeliveryFigures, DeliveryParts
from homeserver.services.appservices.directory import AppserviceDirectory, AppserviceLogin
from homeserver.services.appservices.queries import AppserviceQueries
from homeserver.services.appservices.requests import AppserviceRequests
from homeserver.services.appservices.third_party import ThirdPartyLookups
from homeserver.services.cluster.leases import Leases
from homeserver_config.application_service import read_registrations

if TYPE_CHECKING:
    from homeserver.app.accounts import AccountParts
    from homeserver.app.encryption import EncryptionParts
    from homeserver.app.rooms import RoomParts, SyncParts
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.metrics import Metrics
    from homeserver.runtime.randomness import Randomness
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database
    from homeserver_config.settings import Settings


class AppserviceParts:
    """The application services of one server. Raises ConfigError for mistakes in registration files."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        background: BackgroundTasks,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._background = background
        self._figures = DeliveryFigures(metrics)
        self._loaded = read_registrations(settings.application_services.registrations)
        # The operator names the addresses of bridges, so nobody is led astray.
        outgoing = settings.outgoing.model_copy(update={"ip_ranges_denied": []})
        self._http = HttpClient(outgoing, user_agent=f"Starling/{__version__}")
        self._requests = AppserviceRequests(self._http)
        server_name = settings.server.server_name
        patience_s = settings.application_services.query_timeout.seconds
        self.directory = AppserviceDirectory(server_name, database)
        self.login = AppserviceLogin(server_name, self.directory)
        self.queries = AppserviceQueries(self.directory, self._requests, database, clock, patience_s)
        self.lookups = ThirdPartyLookups(self.directory, self._requests, clock, patience_s)
        self.services: Appservices

    def attach(self, rooms: RoomParts, sync: SyncParts, accounts: AccountParts, encryption: EncryptionParts) -> None:
        """Build the delivery, over the finished core."""
        settings = self._settings.application_services
        parts = DeliveryParts(
            settings,
            self._database,
            self._clock,
            self._randomness,
            self._requests,
            rooms.rooms,
            rooms.events,
            rooms.groups,
            rooms.client_events,
            sync.typing,
            sync.presence,
            encryption.news,
            self._figures,
        )
        self.services = Appservices(
            self._settings.server.server_name,
            settings,
            self._loaded,
            self.directory,
            accounts.accounts,
            self._background,
            parts,
        )

    async def start(self, leases: Leases) -> None:
        """Begin, once the database is open."""
        await self.services.start(leases)

    def follow(self, changes: Sequence[Change], position: int | None) -> None:
        """Hear of a commit."""
        self.services.follow(changes, position)

    async def stop(self) -> None:
        """Let go of all connections, after background tasks have ended."""
        await self._http.close()
