"""A whole homeserver: built from its settings top to bottom, started, and stopped in reverse order.

Everything in here is a constructor call; what the parts do is in the parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from homeserver.app.accounts import build_accounts
from homeserver.app.appservices import AppserviceParts
from homeserver.app.cluster import Cluster
from homeserver.app.delayed_events import DelayedEventParts
from homeserver.app.email import EmailParts
from homeserver.app.encryption import build_encryption
from homeserver.app.federation import FederationParts
from homeserver.app.figures import register_figures
from homeserver.app.http import admin_routes, client_routes, metrics_routes
from homeserver.app.media import build_media
from homeserver.app.memory import Memory
from homeserver.app.oauth_provider import OAuthParts, build_approvals, build_oauth_provider, oauth_stages
from homeserver.app.plugins import PluginParts
from homeserver.app.rooms import build_rooms, build_sync
from homeserver.app.signing_key import load_or_create_signing_key
from homeserver.app.storage import build_database
from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import Clock, SystemClock
from homeserver.runtime.http_client import HttpClient
from homeserver.runtime.metrics import Metrics
from homeserver.runtime.randomness import Randomness, SystemRandomness
from homeserver.services.account_data import AccountData
from homeserver.services.accounts.tokens import Tokens
from homeserver.services.cluster.bus import Bus
from homeserver.services.devices.remote_keys import NoRemoteKeys
from homeserver.services.devices.to_device import NoRemoteToDevice
from homeserver.services.followers import Followers
from homeserver.services.media.ports import NoRemoteMedia
from homeserver.services.openid import NoRemoteOpenIdUsers, OpenIdTokens, OpenIdUsers
from homeserver.services.profiles import NoRemoteProfiles, Profile, Profiles
from homeserver.services.push_rules import PushRules
from homeserver.services.rate_limiter import RateLimits
from homeserver.services.remote_servers import NoRemoteServers
from homeserver.services.rooms.auto_join import AutoJoin
from homeserver.services.rooms.membership import MembershipService
from homeserver.services.rooms.retention import RoomRetention
from homeserver.services.search.index import SearchIndex
from homeserver.services.search.search import Search
from homeserver.services.sync.user_news import StoredUserNews
from homeserver.services.user_directory import UserDirectory
from homeserver.storage.changes import Change
from homeserver.storage.database import Database
from homeserver.storage.devices import DeviceRows
from homeserver.storage.oauth_grants import GrantRows
from homeserver.web.app import Lifespan, WebApp, WebSettings, build_asgi
from homeserver.web.endpoint import Route
from homeserver.web.metrics_page import HttpFigures
from homeserver_config.sections.listeners import ListenerSettings
from homeserver_config.settings import Settings
from homeserver_federation.server_discovery import Discovery

_RETENTION_EVERY_S = 3_600.0
_LAST_SEEN_EVERY_S = 60.0
_PROFILE_PATIENCE_S = 1.0
_log = structlog.get_logger("homeserver.app")


class Homeserver:
    """One process of a homeserver. Build it, `start()` it, serve `asgi(listener)`, `stop()` it."""

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database | None = None,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        discovery: Discovery | None = None,
        bus: Bus | None = None,
        federation_http: HttpClient | None = None,
    ) -> None:
        """`discovery` finds other servers where the specification's way leads nowhere: closed networks, tests.
        `federation_http` reaches them, in place of sockets.

        `bus` connects it with other processes on the same database, in place of Redis.
        """
        self.settings = settings
        self.clock = clock or SystemClock()
        self.randomness = randomness or SystemRandomness()
        self.metrics = Metrics()
        self.background = BackgroundTasks(self.clock)
        self.database = database or build_database(settings)
        self.cluster = Cluster(settings, self.database, self.clock, self.randomness, self.metrics, self.background, bus)
        self.signing_key = load_or_create_signing_key(settings.signing_key_path, self.randomness)
        server_name = settings.server.server_name
        self.appservices = AppserviceParts(
            settings, self.database, self.clock, self.randomness, self.background, self.metrics
        )
        appservices = self.appservices.directory
        followers = _ProfileFollowers(self.background)
        self.limits = RateLimits(settings.rate_limits, self.clock)
        self.tokens = Tokens(self.database, self.clock, appservices)
        self.push_rules = PushRules(self.database)
        self.account_data = AccountData(self.database, self.push_rules)
        self.http = HttpClient(settings.outgoing)
        self.federation: FederationParts | None = None
        if settings.federation.enabled:
            self.federation = FederationParts(
                settings,
                self.database,
                self.clock,
                self.randomness,
                self.background,
                self.metrics,
                self.signing_key,
                self.http,
                discovery,
                federation_http,
            )
        federation = self.federation
        remote = federation.remote if federation is not None else NoRemoteServers()
        remote_profiles = federation.profiles if federation is not None else NoRemoteProfiles()
        self.profiles = Profiles(
            server_name, self.database, [followers], remote_profiles, makers=self.appservices.queries
        )
        self.openid = OpenIdTokens(server_name, self.database, self.clock, self.randomness)
        remote_openid = federation.openid_users if federation is not None else NoRemoteOpenIdUsers()
        self.followers = Followers(self.database, self.background)
        self.plugins = PluginParts(
            settings, self.database, self.clock, self.randomness, self.http, self.metrics, self.background
        )
        self.email = EmailParts(
            settings,
            self.database,
            self.clock,
            self.randomness,
            self.http,
            self.signing_key,
            self.limits,
            self.plugins.sms_sender,
        )
        self.rooms = build_rooms(
            settings,
            self.database,
            self.clock,
            self.randomness,
            self.signing_key,
            self.profiles,
            self.push_rules,
            self.account_data,
            remote,
            self.plugins.gates,
            self.appservices.queries,
        )
        followers.membership = self.rooms.membership
        self.delayed_events = DelayedEventParts(
            settings,
            self.database,
            self.clock,
            self.randomness,
            self.rooms.send,
            is_shared=self.cluster.is_shared,
        )
        self.encryption = build_encryption(
            settings,
            self.database,
            self.clock,
            self.randomness,
            federation.keys if federation is not None else NoRemoteKeys(),
            federation.to_device if federation is not None else NoRemoteToDevice(),
        )
        approvals = build_approvals(settings, self.database, self.clock)
        device_rows: list[DeviceRows] = [self.plugins.device_rows, self.encryption.rows, GrantRows()]
        self.accounts = build_accounts(
            settings,
            self.database,
            self.clock,
            self.randomness,
            self.background,
            self.tokens,
            self.limits,
            self.profiles,
            self.push_rules,
            appservices,
            self.encryption.cross_signing,
            self.rooms.membership,
            device_rows,
            [
                *self.plugins.account_observers,
                self.encryption.retention,
                AutoJoin(
                    settings.registration.auto_join_rooms,
                    self.rooms.directory,
                    self.rooms.membership,
                    self.background,
                ),
            ],
            self.plugins,
            self.email,
            [self.appservices.login],
            oauth_stages(approvals),
        )
        self.email.attach(self.accounts, self.rooms, self.profiles)
        self.oauth_provider: OAuthParts | None = None
        if settings.oauth_provider.enabled:
            self.oauth_provider = build_oauth_provider(
                settings,
                self.database,
                self.clock,
                self.randomness,
                self.tokens,
                self.limits,
                self.profiles,
                self.plugins.sso,
                self.accounts,
                device_rows,
                approvals,
            )
        self.plugins.attach(
            self.rooms,
            self.accounts,
            self.profiles,
            self.push_rules,
            self.account_data,
            self.limits,
            self.followers,
            self.email,
            OpenIdUsers(server_name, self.openid, remote_openid),
        )
        self.media = build_media(
            settings,
            self.database,
            self.clock,
            self.randomness,
            self.http,
            self.plugins.hooks,
            federation.media if federation is not None else NoRemoteMedia(),
        )
        self.user_news = StoredUserNews(self.database, self.account_data, self.push_rules)
        self.sync = build_sync(settings, self.database, self.clock, self.rooms, self.user_news, self.encryption.news)
        self.appservices.attach(self.rooms, self.sync, self.accounts, self.encryption)
        if federation is not None:
            federation.attach(
                self.rooms, self.sync, self.encryption, self.profiles, self.media, self.openid, self.account_data
            )
        self.user_directory = UserDirectory(settings.user_directory, self.database, self.profiles, server_name)
        self.room_retention = RoomRetention(settings.retention, self.database, self.clock)
        self.search_index = SearchIndex(self.database, enabled=settings.search.enabled)
        self.search = Search(
            self.database,
            self.followers,
            self.search_index,
            self.rooms.rooms,
            self.rooms.events,
            self.rooms.read,
            self.rooms.timeline,
            self.rooms.visibility,
            self.rooms.client_events,
            self.user_news,
        )
        self._http_figures = HttpFigures(self.metrics)
        parts = self.rooms
        register_figures(
            self.metrics,
            parts.hub,
            [parts.rooms.cache, parts.events.cache, parts.groups.cache, parts.unread.cache],
        )

    async def start(self) -> None:
        """Open the database and begin background work."""
        leases = self.cluster.leases
        self.database.on_commit(self.follow)
        await self.database.open()
        self.database.on_doubt(Memory(self).look)
        await self.cluster.join(self)
        await self.rooms.hub.start(self.background)
        await self.plugins.start(leases)
        self.email.start(self.background)
        await leases.begin("search", lambda: self.followers.start([self.search_index]))
        if self.federation is not None:
            await self.federation.start(leases, self.followers)
        await self.appservices.start(leases)
        await self.delayed_events.start(leases, self.background)
        if self.media is not None:
            self.media.start(self.background)
        self.sync.typing.start(self.background)
        self.sync.presence.start(self.background, self.rooms.hub.ephemeral_changed)
        self.background.run_every("retention", _RETENTION_EVERY_S, self.accounts.retention.run)
        if self.oauth_provider is not None:
            self.background.run_every("oauth-retention", _RETENTION_EVERY_S, self.oauth_provider.retention.run)
        self.background.run_every("room-retention", _RETENTION_EVERY_S, self.room_retention.run)
        self.background.run_every("encryption-retention", _RETENTION_EVERY_S, self.encryption.retention.run)
        self.background.run_every("sliding-sync-retention", _RETENTION_EVERY_S, self.sync.connections.forget_old)
        self.background.run_every("last-seen", _LAST_SEEN_EVERY_S, self.tokens.flush_last_seen)
        self.background.start("departures", self.accounts.accounts.resume_departures())

    async def stop(self) -> None:
        """End background work and close what was opened, last opened first."""
        if self.media is not None:
            await self.media.stop()
        if self.federation is not None:
            self.federation.halt()
        await self.plugins.stop()
        await self.background.stop()
        await self.cluster.leave()
        if self.federation is not None:
            await self.federation.stop()
        await self.tokens.flush_last_seen()
        self.accounts.passwords.close()
        await self.appservices.stop()
        await self.http.close()
        await self.database.close()
        await self.cluster.close()

    def asgi(self, listener: ListenerSettings, lifespan: Lifespan | None = None) -> WebApp:
        """The application for one listener: the resources it names, and its trust in proxies."""
        routes: list[Route] = []
        if "client" in listener.resources:
            routes += client_routes(self)
        if "federation" in listener.resources and self.federation is not None:
            routes += self.federation.routes()
        if "admin" in listener.resources:
            routes += admin_routes(self)
        if "metrics" in listener.resources:
            routes += metrics_routes(self)
        web = WebSettings(
            max_body_bytes=self.settings.server.max_body_size,
            trusted_proxies=tuple(listener.trusted_proxies) if listener.x_forwarded else (),
        )
        return build_asgi(
            routes,
            self.tokens,
            self.limits,
            settings=web,
            lifespan=lifespan,
            server_authenticator=self.federation.authenticator if self.federation is not None else None,
            observe_answer=self._http_figures.observe,
            catch_up=self.cluster.catch_up if self.cluster.is_shared else None,
        )

    def follow(self, changes: Sequence[Change], position: int | None) -> None:
        """Bring everything in memory up to a commit, then wake those who wait for it."""
        parts = self.rooms
        parts.events.follow(changes)
        parts.rooms.follow(changes)
        parts.visibility.follow(changes)
        parts.unread.follow(changes)
        self.encryption.news.follow(changes)
        if self.federation is not None:
            self.federation.follow(changes)
        parts.hub.follow(changes, position)
        self.appservices.follow(changes, position)
        self.plugins.follow(changes, position)


class _ProfileFollowers:
    """Shows changed profiles in rooms, in the background, once there are rooms."""

    def __init__(self, background: BackgroundTasks) -> None:
        self._background = background
        self.membership: MembershipService | None = None

    async def profile_changed(self, user_id: str, profile: Profile) -> None:
        if self.membership is not None:
            task = self._background.start("profile-change", self.membership.profile_changed(user_id, profile))
            # Few rooms are done at once, and the caller sees them done; many go on in the background.
            await asyncio.wait({task}, timeout=_PROFILE_PATIENCE_S)
