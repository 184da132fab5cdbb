"""Builds federation: what asks other servers, what answers them, and what sends them news.

In two steps, because the core needs its ports before there are the rooms that federation serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from homeserver import __version__
from homeserver.runtime.http_client import HttpClient
from homeserver.services.cluster.leases import Leases
from homeserver.services.followers import Followers
from homeserver.services.push.outcomes import DefaultPushOutcomes
from homeserver.storage.outbound_events import note_relay
from homeserver.web.endpoint import Route, routes_of
from homeserver_federation.back_off import BackOff
from homeserver_federation.client import FederationClient, build_tls_context
from homeserver_federation.key_answers import OldKey, OwnKeys
from homeserver_federation.key_fetcher import KeyFetcher
from homeserver_federation.key_notary import KeyNotary
from homeserver_federation.key_ring import KeyRing
from homeserver_federation.outbound.device_lists import DeviceListUpdates
from homeserver_federation.outbound.ephemeral import EphemeralNews
from homeserver_federation.outbound.room_servers import RoomServers
from homeserver_federation.outbound.sender import FederationSender
from homeserver_federation.outbound.to_device import ToDeviceOutbox
from homeserver_federation.outbound.transmission import Transmission
from homeserver_federation.parts import CoreParts, OtherHalf, RoomsOfFederation, build_rooms_of_federation
from homeserver_federation.remote_directory import RemoteDirectory
from homeserver_federation.remote_keys import FederatedKeys
from homeserver_federation.remote_media import FederatedMedia
from homeserver_federation.remote_openid import FederatedOpenIdUsers
from homeserver_federation.remote_profiles import FederatedProfiles
from homeserver_federation.remote_servers import FederatedServers
from homeserver_federation.request_auth import RequestAuthenticator
from homeserver_federation.server_api.content_repository import ContentRepositoryApi
from homeserver_federation.server_api.keys_query import KeysQueryApi
from homeserver_federation.server_api.keys_server import KeysServerApi
from homeserver_federation.server_api.openid import OpenidApi
from homeserver_federation.server_api.public_rooms import PublicRoomsApi
from homeserver_federation.server_api.query import QueryApi
from homeserver_federation.server_api.user_devices import UserDevicesApi
from homeserver_federation.server_api.user_keys import UserKeysApi
from homeserver_federation.server_api.version import VersionApi
from homeserver_federation.server_api.wellknown import WellknownApi
from homeserver_federation.server_discovery import ServerDiscovery
from homeserver_federation.srv_records import DnsSrvLookup
from homeserver_federation.well_known import WellKnown

if TYPE_CHECKING:
    from homeserver.app.encryption import EncryptionParts
    from homeserver.app.media import MediaParts
    from homeserver.app.rooms import RoomParts, SyncParts
    from homeserver.protocol.signing import SigningKey
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.metrics import Metrics
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.openid import OpenIdTokens
    from homeserver.services.profiles import Profiles
    from homeserver.services.rooms.membership import InvitePermissions
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database
    from homeserver_config.settings import Settings
    from homeserver_federation.server_discovery import Discovery


class FederationParts:
    """Federation of one server. `discovery` takes the place of the specification's where servers are known by hand."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        background: BackgroundTasks,
        metrics: Metrics,
        signing_key: SigningKey,
        http: HttpClient,
        discovery: Discovery | None = None,
        own_http: HttpClient | None = None,
    ) -> None:
        federation, server_name = settings.federation, settings.server.server_name
        self._settings = settings
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._background = background
        self._is_sending = False
        self._metrics = metrics
        self._signing_key = signing_key
        self._srv = DnsSrvLookup()
        self._http = own_http or HttpClient(
            settings.outgoing, user_agent=f"Starling/{__version__}", tls=build_tls_context(federation)
        )
        well_known = WellKnown(self._http, federation, clock)
        self.discovery = discovery or ServerDiscovery(well_known, self._srv, clock, randomness)
        self.back_off = BackOff(database, federation, clock, randomness)
        self.client = FederationClient(
            server_name, signing_key, self.discovery, self._http, federation, clock, self.back_off
        )
        old = {id_: OldKey(key.key, key.expired_ts) for id_, key in federation.old_verify_keys.items()}
        self.own_keys = OwnKeys(server_name, signing_key, old)
        fetcher = KeyFetcher(self.client, federation.trusted_key_servers, clock)
        self.key_ring = KeyRing(self.own_keys, fetcher, database, clock)
        self.authenticator = RequestAuthenticator(server_name, self.key_ring, federation, self.back_off)
        self.keys = FederatedKeys(self.client)
        self.profiles = FederatedProfiles(self.client)
        self.openid_users = FederatedOpenIdUsers(self.client)
        self.media = FederatedMedia(self.client, http)
        self.directory = RemoteDirectory(self.client)
        self.remote = FederatedServers()
        self.to_device = ToDeviceOutbox(federation, clock)
        self.room_servers: RoomServers
        self.sender: FederationSender
        self._device_lists: DeviceListUpdates
        self._ephemeral: EphemeralNews
        self._apis: list[object] = []
        self.of_rooms: RoomsOfFederation

    def attach(
        self,
        rooms: RoomParts,
        sync: SyncParts,
        encryption: EncryptionParts,
        profiles: Profiles,
        media: MediaParts | None,
        openid: OpenIdTokens,
        permissions: InvitePermissions,
    ) -> None:
        """Build what sends and answers, over the finished core."""
        settings, server_name = self._settings, self._settings.server.server_name
        self.room_servers = RoomServers(self._database, rooms.events, rooms.groups)
        self._device_lists = DeviceListUpdates(
            server_name,
            settings.federation,
            self._database,
            self._clock,
            encryption.keys,
            rooms.events,
            rooms.groups,
            self.room_servers,
        )
        self.sender = FederationSender(
            server_name,
            settings.federation,
            self._database,
            self._clock,
            self._randomness,
            self._background,
            self._metrics,
            self.back_off,
            Transmission(self.client, self._database),
            self.room_servers,
            self._device_lists,
        )
        presence = sync.presence if settings.presence.enabled and settings.presence.federated else None
        self._ephemeral = EphemeralNews(server_name, self._clock, self.sender, self.room_servers, sync.typing, presence)
        delegate_to = settings.well_known.delegate_to if settings.well_known.enabled else None
        self.of_rooms = build_rooms_of_federation(
            CoreParts(
                server_name,
                self._signing_key,
                self._database,
                self._clock,
                self._randomness,
                self._background,
                rooms.rooms,
                rooms.events,
                rooms.groups,
                rooms.summaries,
                rooms.append,
                DefaultPushOutcomes(),
                permissions,
                sync.typing,
                encryption.to_device,
                presence,
            ),
            OtherHalf(
                self.client,
                self.key_ring,
                self.directory,
                self.profiles,
                note_relay,
                join_timeout_ms=int(settings.federation.join_timeout),
            ),
            self.remote,
        )
        self._apis = [
            KeysServerApi(self.own_keys, self._clock),
            KeysQueryApi(KeyNotary(self.key_ring, settings.federation, self._clock), self._clock),
            VersionApi(__version__),
            WellknownApi(delegate_to),
            OpenidApi(openid),
            QueryApi(server_name, rooms.directory, profiles, profile_lookups=settings.federation.profile_lookups),
            PublicRoomsApi(rooms.directory, shared=settings.rooms.public_directory_over_federation),
            UserDevicesApi(server_name, encryption.keys, device_names=settings.federation.device_names),
            UserKeysApi(encryption.keys, device_names=settings.federation.device_names),
        ]
        if media is not None:
            self._apis.append(ContentRepositoryApi(server_name, media.library, media.thumbnails, self._randomness))

    def routes(self) -> list[Route]:
        """The server-server API."""
        return self.of_rooms.routes + [route for api in self._apis for route in routes_of(api)]

    async def start(self, leases: Leases, followers: Followers) -> None:
        """Begin, once the database is open."""
        await self.back_off.load()
        await leases.begin("federation", lambda: self._begin_sending(followers))

    async def _begin_sending(self, followers: Followers) -> None:
        self._is_sending = True
        await self._device_lists.start(self._background)
        self._ephemeral.start(self._background)
        await self.sender.start()
        await followers.start([self.sender])

    def missed(self) -> None:
        """Nobody knows what was committed by other processes."""
        self.room_servers.forget_all()
        if self._is_sending:
            self._device_lists.look()
            self._background.start("federation-outbox", self.sender.look_for_work())

    def follow(self, changes: Sequence[Change]) -> None:
        """Hear of a commit."""
        self.room_servers.follow(changes)
        if not self._is_sending:
            return
        self._device_lists.follow(changes)
        self._ephemeral.follow(changes)
        self.sender.follow(changes)

    def halt(self) -> None:
        """Begin nothing new, before background tasks are ended."""
        self.sender.stop()

    async def stop(self) -> None:
        """Let go of all connections, after background tasks have ended."""
        await self.of_rooms.transactions.stop()
        await self._http.close()
        await self._srv.close()
