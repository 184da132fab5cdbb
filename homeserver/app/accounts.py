"""Builds everything about accounts: logins, registration, sessions, and what belongs to a user alone.

Login methods and authentication stages come in as lists, so that plugins can add to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.app.email import EmailParts
from homeserver.app.plugins import PluginParts
from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import Clock
from homeserver.runtime.randomness import Randomness
from homeserver.services.accounts.accounts import Accounts
from homeserver.services.accounts.auth_stages import DummyStage, PasswordStage, RegistrationTokenStage, TermsStage
from homeserver.services.accounts.login_methods import LoginTokens, PasswordLogin
from homeserver.services.accounts.password_check import PasswordCheck
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.ports import (
    AccountObserver,
    AppserviceDirectory,
    AuthStage,
    CrossSigningKeyIds,
    LoginMethod,
    RoomDeparture,
)
from homeserver.services.accounts.registration import Registration
from homeserver.services.accounts.retention import AccountLifetimes, AccountRetention
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.accounts.shared_secret import SharedSecretRegistration
from homeserver.services.accounts.tokens import Tokens
from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth
from homeserver.services.devices.dehydrated_devices import DehydratedDevices
from homeserver.services.devices.devices import Devices
from homeserver.services.filters import Filters
from homeserver.services.profiles import Profiles
from homeserver.services.push_rules import PushRules
from homeserver.services.rate_limiter import RateLimits
from homeserver.storage.database import Database
from homeserver.storage.devices import DeviceRows
from homeserver_config.settings import Settings


@dataclass(frozen=True, slots=True)
class AccountParts:
    """What the HTTP side and other parts use of accounts."""

    accounts: Accounts
    sessions: Sessions
    registration: Registration
    shared_secret: SharedSecretRegistration
    interactive_auth: UserInteractiveAuth
    login_tokens: LoginTokens
    passwords: Passwords
    devices: Devices
    dehydrated: DehydratedDevices
    retention: AccountRetention
    filters: Filters


def build_accounts(
    settings: Settings,
    database: Database,
    clock: Clock,
    randomness: Randomness,
    background: BackgroundTasks,
    tokens: Tokens,
    limits: RateLimits,
    profiles: Profiles,
    push_rules: PushRules,
    appservices: AppserviceDirectory,
    cross_signing: CrossSigningKeyIds,
    departure: RoomDeparture,
    device_rows: Sequence[DeviceRows],
    observers: Sequence[AccountObserver],
    plugins: PluginParts,
    email: EmailParts,
    more_methods: Sequence[LoginMethod] = (),
    more_stages: Sequence[AuthStage] = (),
) -> AccountParts:
    """Everything about accounts."""
    server_name = settings.server.server_name
    passwords = Passwords(settings.passwords)
    accounts = Accounts(
        server_name,
        database,
        clock,
        background,
        tokens,
        passwords,
        profiles,
        push_rules,
        departure,
        device_rows,
        observers,
    )
    check = PasswordCheck(database, passwords, limits)
    login_tokens = LoginTokens(
        database,
        clock,
        randomness,
        settings.sessions.login_token_lifetime,
        sessions_may_issue=settings.sessions.login_tokens,
    )
    methods: list[LoginMethod] = [login_tokens, *more_methods]
    if settings.sessions.password_login:
        methods.insert(0, PasswordLogin(server_name, check, limits, email.addresses))
    sessions = Sessions(
        settings.sessions,
        database,
        clock,
        randomness,
        tokens,
        cross_signing,
        plugins.login_methods(methods),
        device_rows,
    )
    stages: list[AuthStage] = [
        DummyStage(),
        PasswordStage(server_name, database, check, email.addresses),
        RegistrationTokenStage(clock),
        *email.stages,
        *more_stages,
    ]
    if settings.registration.terms_url is not None:
        stages.append(TermsStage(settings.registration.terms_url))
    interactive_auth = UserInteractiveAuth(
        database, clock, randomness, plugins.auth_stages(stages), settings.sessions.interactive_auth_lifetime
    )
    registration = Registration(
        server_name,
        settings.registration,
        settings.guests,
        database,
        clock,
        randomness,
        accounts,
        sessions,
        passwords,
        interactive_auth,
        appservices,
        limits,
        plugins.registration_stages,
        plugins.registration_gate,
        email.addresses,
        email.stage_types,
    )
    return AccountParts(
        accounts=accounts,
        sessions=sessions,
        registration=registration,
        shared_secret=SharedSecretRegistration(
            settings.registration.shared_secret, clock, randomness, accounts, sessions
        ),
        interactive_auth=interactive_auth,
        login_tokens=login_tokens,
        passwords=passwords,
        devices=Devices(database, clock, tokens, device_rows),
        dehydrated=DehydratedDevices(database, clock, device_rows),
        retention=AccountRetention(
            AccountLifetimes(), database, clock, tokens, accounts, interactive_auth, device_rows
        ),
        filters=Filters(database, clock),
    )
