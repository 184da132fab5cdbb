"""A homeserver with plugins, composed as the composition root does it, and servers on loopback for them to talk to.

Nothing is replaced: plugins are loaded from the settings, requests go through the real ASGI application.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from server_kit import Server, settings_for

from homeserver.app.accounts import AccountParts
from homeserver.app.encryption import build_encryption
from homeserver.app.plugins import PluginParts
from homeserver.app.rooms import build_rooms, build_sync
from homeserver.client_api.account_deactivation import AccountDeactivationApi
from homeserver.client_api.capabilities import Capabilities, CapabilitiesApi
from homeserver.client_api.create_room import CreateRoomApi
from homeserver.client_api.device_management import DeviceManagementApi
from homeserver.client_api.directory import DirectoryApi
from homeserver.client_api.login import LoginApi
from homeserver.client_api.logout import LogoutApi
from homeserver.client_api.membership import RoomMembershipApi
from homeserver.client_api.pusher import PusherApi
from homeserver.client_api.pushrules import PushrulesApi
from homeserver.client_api.receipts import ReceiptsApi
from homeserver.client_api.registration import RegistrationApi
from homeserver.client_api.registration_tokens import RegistrationTokensApi
from homeserver.client_api.room_send import RoomSendApi
from homeserver.client_api.rooms import RoomsApi
from homeserver.client_api.sso_login_redirect import SsoLoginRedirectApi
from homeserver.client_api.sync import SyncApi
from homeserver.client_api.versions import FEATURES, VersionsApi
from homeserver.client_api.voip import VoipApi
from homeserver.client_api.wellknown import WellknownApi, client_well_known
from homeserver.client_api.whoami import WhoamiApi
from homeserver.protocol.signing import SigningKey
from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import Clock, SystemClock
from homeserver.runtime.http_client import HttpClient
from homeserver.runtime.metrics import Metrics
from homeserver.runtime.randomness import SystemRandomness
from homeserver.services.account_data import AccountData
from homeserver.services.accounts.accounts import Accounts
from homeserver.services.accounts.auth_stages import DummyStage, PasswordStage, RegistrationTokenStage
from homeserver.services.accounts.login_methods import LoginTokens, PasswordLogin
from homeserver.services.accounts.password_check import PasswordCheck
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.ports import NoAppservices
from homeserver.services.accounts.registration import Registration
from homeserver.services.accounts.retention import AccountLifetimes, AccountRetention
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.accounts.shared_secret import SharedSecretRegistration
from homeserver.services.accounts.tokens import Tokens
from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth
from homeserver.services.devices.devices import Devices
from homeserver.services.filters import Filters
from homeserver.services.followers import Followers
from homeserver.services.profiles import NoRemoteProfiles, Profiles
from homeserver.services.push_rules import PushRules
from homeserver.services.rate_limiter import RateLimits
from homeserver.services.remote_servers import NoRemoteServers
from homeserver.services.sync.user_news import StoredUserNews
from homeserver.storage.changes import Change
from homeserver.storage.database import Database
from homeserver.storage.sqlite import SqliteDatabase
from homeserver.web.app import WebApp, build_asgi
from homeserver.web.endpoint import Route, routes_of
from homeserver_config.sections.listeners import ListenerSettings
from homeserver_config.settings import Settings


class PluginServer:
    """A homeserver with what plugins touch."""

    def __init__(self, settings: Settings, database: Database, clock: Clock | None = None) -> None:
        name = settings.server.server_name
        self.settings = settings
        self.database = database
        self.clock = clock or SystemClock()
        self.randomness = SystemRandomness()
        self.background = BackgroundTasks(self.clock)
        self.metrics = Metrics()
        self.http = HttpClient(settings.outgoing)
        self.limits = RateLimits(settings.rate_limits, self.clock)
        self.tokens = Tokens(database, self.clock, NoAppservices())
        self.push_rules = PushRules(database)
        self.account_data = AccountData(database, self.push_rules)
        self.profiles = Profiles(name, database, [], NoRemoteProfiles())
        self.followers = Followers(database, self.background)
        self.plugins = PluginParts(
            settings, database, self.clock, self.randomness, self.http, self.metrics, self.background
        )
        self.rooms = build_rooms(
            settings,
            database,
            self.clock,
            self.randomness,
            SigningKey("a_test", bytes(32)),
            self.profiles,
            self.push_rules,
            self.account_data,
            NoRemoteServers(),
            self.plugins.gates,
        )
        self.encryption = build_encryption(settings, database, self.clock, self.randomness)
        self.accounts = self._build_accounts(name)
        self.plugins.attach(
            self.rooms,
            self.accounts,
            self.profiles,
            self.push_rules,
            self.account_data,
            self.limits,
            self.followers,
        )
        self.news = StoredUserNews(database, self.account_data, self.push_rules)
        self.sync = build_sync(settings, database, self.clock, self.rooms, self.news, self.encryption.news)

    def _build_accounts(self, name: str) -> AccountParts:
        settings, database, clock, plugins = self.settings, self.database, self.clock, self.plugins
        passwords = Passwords(settings.passwords)
        rows = [plugins.device_rows, self.encryption.rows]
        accounts = Accounts(
            name,
            database,
            clock,
            self.background,
            self.tokens,
            passwords,
            self.profiles,
            self.push_rules,
            self.rooms.membership,
            rows,
            plugins.account_observers,
        )
        check = PasswordCheck(database, passwords, self.limits)
        lifetime = settings.sessions.login_token_lifetime
        login_tokens = LoginTokens(database, clock, self.randomness, lifetime, sessions_may_issue=False)
        methods = plugins.login_methods([PasswordLogin(name, check, self.limits), login_tokens])
        keys = self.encryption.cross_signing
        sessions = Sessions(settings.sessions, database, clock, self.randomness, self.tokens, keys, methods, rows)
        stages = plugins.auth_stages(
            [DummyStage(), PasswordStage(name, database, check), RegistrationTokenStage(clock)]
        )
        auth = UserInteractiveAuth(
            database, clock, self.randomness, stages, settings.sessions.interactive_auth_lifetime
        )
        registration = Registration(
            name,
            settings.registration,
            settings.guests,
            database,
            clock,
            self.randomness,
            accounts,
            sessions,
            passwords,
            auth,
            NoAppservices(),
            self.limits,
            plugins.registration_stages,
            plugins.registration_gate,
        )
        return AccountParts(
            accounts=accounts,
            sessions=sessions,
            registration=registration,
            shared_secret=SharedSecretRegistration(None, clock, self.randomness, accounts, sessions),
            interactive_auth=auth,
            login_tokens=login_tokens,
            passwords=passwords,
            devices=Devices(database, clock, self.tokens, rows),
            retention=AccountRetention(AccountLifetimes(), database, clock, self.tokens, accounts, auth, rows),
            filters=Filters(database, clock),
        )

    async def start(self) -> None:
        self.database.on_commit(self._follow)
        await self.database.open()
        await self.rooms.hub.start(self.background)
        await self.plugins.start()

    async def stop(self) -> None:
        await self.plugins.stop()
        await self.background.stop()
        self.accounts.passwords.close()
        await self.http.close()
        await self.database.close()

    def asgi(self, listener: ListenerSettings) -> WebApp:
        return build_asgi(self._routes(), self.tokens, self.limits)

    def _follow(self, changes: Sequence[Change], position: int | None) -> None:
        for part in (self.rooms.events, self.rooms.rooms, self.rooms.visibility, self.rooms.unread):
            part.follow(changes)
        self.rooms.hub.follow(changes, position)
        self.plugins.follow(changes, position)

    def _routes(self) -> list[Route]:
        accounts, rooms, hooks = self.accounts, self.rooms, self.plugins.hooks
        well_known = client_well_known(self.settings.public_baseurl, hooks.well_known())
        apis = [
            LoginApi(accounts.sessions, well_known),
            LogoutApi(accounts.sessions),
            RegistrationApi(accounts.registration),
            RegistrationTokensApi(accounts.registration),
            AccountDeactivationApi(accounts.accounts, accounts.interactive_auth),
            DeviceManagementApi(accounts.devices, accounts.interactive_auth),
            WhoamiApi(),
            PushrulesApi(self.push_rules),
            PusherApi(self.plugins.pushers),
            VoipApi(self.plugins.turn_credentials),
            SsoLoginRedirectApi(self.plugins.sso, self.settings.public_baseurl),
            CapabilitiesApi(Capabilities(more=hooks.capabilities())),
            VersionsApi({**FEATURES, **hooks.unstable_features()}),
            WellknownApi(well_known),
            CreateRoomApi(rooms.create),
            RoomMembershipApi(rooms.membership, rooms.directory, rooms.read),
            RoomSendApi(rooms.send),
            RoomsApi(rooms.read, rooms.timeline, rooms.client_events, self.news),
            DirectoryApi(rooms.directory, rooms.read, needs_login=False),
            ReceiptsApi(self.sync.receipts, self.sync.fully_read, self.sync.typing),
            SyncApi(self.sync.sync, accounts.filters),
        ]
        return [*(route for api in apis for route in routes_of(api)), *self.plugins.routes]


@asynccontextmanager
async def server_with(
    folder: Path,
    *plugins: Any,
    clock: Clock | None = None,
    database: Database | None = None,
    **sections: Any,
) -> AsyncIterator[Server]:
    """A running server with these entries of the list `plugins`; it may talk to loopback."""
    settings = settings_for(
        folder,
        plugins=list(plugins),
        **{
            "outgoing": {"ip_ranges_allowed": ["127.0.0.0/8"]},
            "passwords": {"argon2_memory": 8192, "argon2_iterations": 1},
            **sections,
        },
    )
    database = database or SqliteDatabase(folder / "test.db", synchronous="OFF")
    server = PluginServer(settings, database, clock)
    try:
        await server.start()
        yield Server(server)  # type: ignore[arg-type]
    finally:
        await asyncio.sleep(0)  # lets tasks that were only just started begin
        await server.stop()


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def loopback(handlers: dict[tuple[str, str], Handler]) -> AsyncIterator[str]:
    """An HTTP server on loopback; its base URL."""
    app = web.Application()
    for (method, path), handler in handlers.items():
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
