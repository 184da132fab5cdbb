"""The account services assembled by hand over an SQLite file, with the endpoints mounted and clients to call them.

Cheap password hashes, a clock moved by hand, no rate limits unless a test wants them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homeserver.client_api.account_data import AccountDataApi
from homeserver.client_api.account_deactivation import AccountDeactivationApi
from homeserver.client_api.admin import AdminApi
from homeserver.client_api.admin_register import AdminRegisterApi
from homeserver.client_api.administrative_contact import AdministrativeContactApi
from homeserver.client_api.auth_fallback import AuthFallbackApi, fallback_forms
from homeserver.client_api.capabilities import Capabilities, CapabilitiesApi
from homeserver.client_api.device_management import DeviceManagementApi
from homeserver.client_api.filter import FilterApi
from homeserver.client_api.login import LoginApi
from homeserver.client_api.login_token import LoginTokenApi
from homeserver.client_api.logout import LogoutApi
from homeserver.client_api.password_management import PasswordManagementApi
from homeserver.client_api.profile import ProfileApi
from homeserver.client_api.pushrules import PushrulesApi
from homeserver.client_api.refresh import RefreshApi
from homeserver.client_api.registration import RegistrationApi
from homeserver.client_api.registration_tokens import RegistrationTokensApi
from homeserver.client_api.support import SupportApi
from homeserver.client_api.tags import TagsApi
from homeserver.client_api.versions import ACCOUNT_FEATURES, VersionsApi
from homeserver.client_api.wellknown import WellknownApi, client_well_known
from homeserver.client_api.whoami import WhoamiApi
from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import ManualClock
from homeserver.runtime.randomness import SeededRandomness
from homeserver.services.account_data import AccountData
from homeserver.services.accounts.accounts import Accounts
from homeserver.services.accounts.auth_stages import DummyStage, PasswordStage, RegistrationTokenStage, TermsStage
from homeserver.services.accounts.login_methods import LoginTokens, PasswordLogin
from homeserver.services.accounts.password_check import PasswordCheck
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.ports import AuthStage, LoginMethod, NoCrossSigningKeys
from homeserver.services.accounts.registration import Registration
from homeserver.services.accounts.retention import AccountLifetimes, AccountRetention
from homeserver.services.accounts.sessions import ClientDetails, Sessions
from homeserver.services.accounts.shared_secret import SharedSecretRegistration
from homeserver.services.accounts.tokens import Tokens
from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth
from homeserver.services.devices.devices import Devices
from homeserver.services.filters import Filters
from homeserver.services.profiles import NoRemoteProfiles, Profile, Profiles
from homeserver.services.push_rules import PushRules
from homeserver.services.rate_limiter import RateLimits
from homeserver.storage.changes import Change
from homeserver.storage.database import Transaction
from homeserver.storage.sqlite import SqliteDatabase
from homeserver.testing import Answer, AsgiClient
from homeserver.web.app import build_asgi
from homeserver.web.endpoint import routes_of
from homeserver.web.request import Request
from homeserver.web.requester import Requester
from homeserver_config.settings import Settings

SERVER = "example.org"
PASSWORD = "correct horse"
V3 = "/_matrix/client/v3"


@dataclass
class Rooms:
    """Stands in for the rooms: remembers what it was asked to do."""

    left: list[str] = field(default_factory=list)
    profiles: list[tuple[str, Profile]] = field(default_factory=list)

    async def leave_all_rooms(self, user_id: str) -> None:
        self.left.append(user_id)

    async def profile_changed(self, user_id: str, profile: Profile) -> None:
        self.profiles.append((user_id, profile))


@dataclass
class Bridge:
    """One application service, `bridge`, with the users `_bridge_...`."""

    token: str = "bridge-token"

    async def find_requester(self, token: str, request: Request) -> Requester | None:
        if token != self.token:
            return None
        user_id = request.query.get("user_id", f"@_bridge_bot:{SERVER}")
        return Requester(user_id, appservice_id="bridge", is_rate_limited=False)

    def find_by_token(self, token: str) -> str | None:
        return "bridge" if token == self.token else None

    def find_exclusive_owner(self, user_id: str) -> str | None:
        return "bridge" if user_id.startswith(("@_bridge_", "@irc-")) else None

    def may_create(self, appservice_id: str, user_id: str) -> bool:
        return self.find_exclusive_owner(user_id) == appservice_id

    def user_changed(self, user_id: str) -> None:
        """Nothing is remembered of users here."""


@dataclass
class RecordedRows:
    """Another subject's rows about devices: written to memory, since the tests only ask what it was told."""

    changed: list[tuple[str, str]] = field(default_factory=list)
    deleted: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def device_changed(self, tx: Transaction, user_id: str, device_id: str) -> None:
        self.changed.append((user_id, device_id))

    def devices_deleted(self, tx: Transaction, user_id: str, device_ids: Any) -> None:
        self.deleted.append((user_id, tuple(device_ids)))


class AccountsApp:
    """Everything of this subject, and `client` to call it without a token."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.settings = settings
        self.clock = ManualClock()
        self.randomness = SeededRandomness(1)
        self.background = BackgroundTasks(self.clock)
        self.database = SqliteDatabase(path, synchronous="OFF")
        self.changes: list[Change] = []
        self.database.on_commit(lambda changes, position: self.changes.extend(changes))
        self.rooms = Rooms()
        self.rows = RecordedRows()
        rows = [self.rows]
        bridge = Bridge()
        self.limits = RateLimits(settings.rate_limits, self.clock)
        self.passwords = Passwords(settings.passwords)
        self.tokens = Tokens(self.database, self.clock, bridge)
        self.push_rules = PushRules(self.database)
        self.profiles = Profiles(SERVER, self.database, [self.rooms], NoRemoteProfiles())
        self.accounts = Accounts(
            SERVER,
            self.database,
            self.clock,
            self.background,
            self.tokens,
            self.passwords,
            self.profiles,
            self.push_rules,
            self.rooms,
            rows,
        )
        check = PasswordCheck(self.database, self.passwords, self.limits)
        sessions = settings.sessions
        self.login_tokens = LoginTokens(
            self.database,
            self.clock,
            self.randomness,
            sessions.login_token_lifetime,
            sessions_may_issue=sessions.login_tokens,
        )
        methods: list[LoginMethod] = [PasswordLogin(SERVER, check, self.limits), self.login_tokens]
        self.sessions = Sessions(
            sessions, self.database, self.clock, self.randomness, self.tokens, NoCrossSigningKeys(), methods, rows
        )
        stages: list[AuthStage] = [
            DummyStage(),
            PasswordStage(SERVER, self.database, check),
            RegistrationTokenStage(self.clock),
            TermsStage("https://example.org/terms"),
        ]
        self.interactive_auth = UserInteractiveAuth(
            self.database, self.clock, self.randomness, stages, sessions.interactive_auth_lifetime
        )
        self.registration = Registration(
            SERVER,
            settings.registration,
            settings.guests,
            self.database,
            self.clock,
            self.randomness,
            self.accounts,
            self.sessions,
            self.passwords,
            self.interactive_auth,
            bridge,
            self.limits,
        )
        self.retention = AccountRetention(
            AccountLifetimes(), self.database, self.clock, self.tokens, self.accounts, self.interactive_auth, rows
        )
        self.filters = Filters(self.database, self.clock)
        self.account_data = AccountData(self.database, self.push_rules)
        self.devices = Devices(self.database, self.clock, self.tokens, rows)
        self.client = AsgiClient(build_asgi(self._routes(), self.tokens, self.limits))

    def _routes(self) -> list[Any]:
        shared_secret = SharedSecretRegistration(
            self.settings.registration.shared_secret, self.clock, self.randomness, self.accounts, self.sessions
        )
        well_known = client_well_known("https://matrix.example.org", {})
        apis = [
            LoginApi(self.sessions, well_known),
            RegistrationApi(self.registration),
            RegistrationTokensApi(self.registration),
            LogoutApi(self.sessions),
            RefreshApi(self.sessions),
            LoginTokenApi(self.login_tokens, self.interactive_auth),
            WhoamiApi(),
            PasswordManagementApi(self.accounts, self.passwords, self.interactive_auth),
            AccountDeactivationApi(self.accounts, self.interactive_auth),
            DeviceManagementApi(self.devices, self.interactive_auth),
            ProfileApi(self.profiles),
            AccountDataApi(self.account_data),
            TagsApi(self.account_data),
            FilterApi(self.filters),
            PushrulesApi(self.push_rules),
            VersionsApi(ACCOUNT_FEATURES),
            CapabilitiesApi(Capabilities()),
            WellknownApi(well_known),
            SupportApi(self.settings.admin_contact),
            AdminApi(SERVER, self.accounts, self.devices),
            AdminRegisterApi(shared_secret),
            AuthFallbackApi(self.interactive_auth, fallback_forms(self.settings.registration.terms_url)),
            AdministrativeContactApi(),
        ]
        return [route for api in apis for route in routes_of(api)]

    async def user(self, name: str, *, admin: bool = False, device_id: str | None = None) -> AsgiClient:
        """A logged-in client of a new account, or of a further device if there is one of this name."""
        user_id = f"@{name}:{SERVER}"
        if await self.accounts.find(user_id) is None:
            await self.accounts.create(name, password=PASSWORD, admin=admin)
        session = await self.sessions.begin(user_id, ClientDetails(device_id=device_id, address="192.0.2.1"))
        return self.client.with_token(session.credentials.access_token)

    async def confirmed(self, client: AsgiClient, method: str, path: str, name: str, body: dict[str, Any]) -> Answer:
        """The request, repeated with the user's password once the server asks for it."""
        first = await client.request(method, path, json=body)
        assert first.status == 401, first.body
        auth = {"type": "m.login.password", "session": first.json["session"], **password_of(name)}
        return await client.request(method, path, json={**body, "auth": auth})


def password_of(name: str, password: str = PASSWORD) -> dict[str, Any]:
    """The keys of a password login."""
    return {"identifier": {"type": "m.id.user", "user": name}, "password": password}


def make_settings(**sections: dict[str, Any]) -> Settings:
    """Settings for tests: open registration, hashes that cost nothing, no limits."""
    defaults: dict[str, dict[str, Any]] = {
        "server": {"server_name": SERVER},
        "registration": {"mode": "open", "shared_secret": "sesame"},
        "passwords": {"argon2_memory": 8192, "argon2_iterations": 1},
        "rate_limits": {"enabled": False},
        "sessions": {"login_tokens": True},
    }
    merged = {name: {**defaults.get(name, {}), **sections.get(name, {})} for name in {*defaults, *sections}}
    return Settings.model_validate(merged)


@asynccontextmanager
async def running_app(folder: Path, **sections: dict[str, Any]) -> AsyncIterator[AccountsApp]:
    """The app over a new database in `folder`, with settings changed by section."""
    app = AccountsApp(folder / "accounts.db", make_settings(**sections))
    await app.database.open()
    try:
        yield app
    finally:
        await app.background.stop()
        await app.database.close()
        app.passwords.close()
