"""Registration: who may open an account here, under which name, and the session they begin with.

The account, its first session and the use of a registration token are one transaction.

Spec: client-server-api #legacy-account-registration
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import (
    MatrixError,
    bad_json,
    exclusive,
    forbidden,
    invalid_param,
    missing_param,
    missing_token,
    unknown_token,
    user_in_use,
)
from homeserver.services.accounts.auth_stages import DUMMY, REGISTRATION_TOKEN, TERMS
from homeserver.services.accounts.ports import OpenRegistration
from homeserver.services.accounts.sessions import ClientDetails
from homeserver.services.accounts.user_ids import check_localpart, check_not_reserved, random_localpart, user_id_of
from homeserver.services.third_party_ids.auth_stages import EMAIL_STAGE, MSISDN_STAGE, STAGES
from homeserver.storage import accounts as account_rows
from homeserver.storage import registration_tokens, ui_auth
from homeserver.storage.accounts import User
from homeserver.storage.profiles import Profile

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.accounts.accounts import Accounts
    from homeserver.services.accounts.passwords import Passwords
    from homeserver.services.accounts.ports import AppserviceDirectory, RegistrationGate
    from homeserver.services.accounts.sessions import NewSession, Sessions
    from homeserver.services.accounts.user_interactive_auth import AuthorisedRequest, UserInteractiveAuth
    from homeserver.services.rate_limiter import RateLimits
    from homeserver.services.third_party_ids.addresses import Addresses
    from homeserver.storage.database import Database, Transaction
    from homeserver_config.sections.guests import GuestSettings
    from homeserver_config.sections.registration import RegistrationSettings

_APPSERVICE = "m.login.application_service"
_OPERATION = "register"
_REMEMBERED = ("username", "device_id", "initial_device_display_name", "inhibit_login", "refresh_token")


class Registration:
    """Opens accounts for people, guests and application services.

    `extra_stages` are auth stages everybody has to complete besides those the settings ask for. `address_stages` are
    those of `m.login.email.identity` and `m.login.msisdn` that this server has; `addresses` keeps what they confirm.
    """

    def __init__(
        self,
        server_name: str,
        settings: RegistrationSettings,
        guests: GuestSettings,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        accounts: Accounts,
        sessions: Sessions,
        passwords: Passwords,
        interactive_auth: UserInteractiveAuth,
        appservices: AppserviceDirectory,
        limits: RateLimits,
        extra_stages: Sequence[str] = (),
        gate: RegistrationGate | None = None,
        addresses: Addresses | None = None,
        address_stages: Sequence[str] = (),
    ) -> None:
        self._server_name = server_name
        self._settings = settings
        self._guests = guests
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._accounts = accounts
        self._sessions = sessions
        self._passwords = passwords
        self._interactive_auth = interactive_auth
        self._appservices = appservices
        self._limits = limits
        self._flows = _flows(settings, extra_stages, address_stages)
        self._addresses = addresses
        self._gate = gate or OpenRegistration()

    @property
    def is_open(self) -> bool:
        """Whether strangers may open an account, with a registration token or without."""
        return self._settings.mode != "closed"

    @property
    def flow(self) -> tuple[str, ...]:
        """The auth stages of the shortest way in: without an address where none is demanded."""
        return tuple(self._flows[0])

    async def register(
        self, body: Mapping[str, Any], client: ClientDetails, access_token: str | None
    ) -> dict[str, Any]:
        """Open an ordinary account; the body of the answer.

        Raises the 401 of User-Interactive Authentication, M_FORBIDDEN where registration is closed, and everything
        `check_available` raises.
        """
        if body.get("type") == _APPSERVICE:
            return await self._register_for_appservice(body, client, access_token)
        if self._settings.mode == "closed":
            raise forbidden("Registration is closed on this server.")
        guest_id = await self._guest_to_upgrade(body)
        if body.get("username") is not None and guest_id is None:
            await self.check_available(body["username"])
        request = await self._authorise(body, client)
        return await self._open(request, body.get("password"), client, guest_id)

    async def register_guest(self, client: ClientDetails) -> dict[str, Any]:
        """Open a guest account. Spec: client-server-api #guest-access"""
        if not self._guests.enabled:
            raise MatrixError("M_GUEST_ACCESS_FORBIDDEN", "This server has no guest accounts.", 403)
        self._limits.take("registration", client.address)
        user_id = await self._free_user_id()
        session = self._sessions.plan(user_id, client)
        await self._accounts.open(User(user_id, "guest", self._clock.now_ms()), Profile(), [session.write])
        return session.as_json()

    async def check_available(self, username: str) -> None:
        """M_INVALID_USERNAME, M_EXCLUSIVE or M_USER_IN_USE unless a newcomer may have this name."""
        user_id = self._check_name(username)
        if await self._accounts.find(user_id) is not None:
            raise user_in_use("This user name is taken.")

    async def is_token_valid(self, token: str) -> bool:
        """Whether a registration token would be accepted now; M_FORBIDDEN where registration is closed."""
        if self._settings.mode == "closed":
            raise forbidden("Registration is closed on this server.")
        found = await self._database.read(registration_tokens.find_token, token)
        return found is not None and found.is_valid(self._clock.now_ms())

    def _check_name(self, username: str) -> str:
        localpart = check_localpart(username, self._server_name)
        user_id = user_id_of(localpart, self._server_name)
        if self._appservices.find_exclusive_owner(user_id) is not None:
            raise exclusive("This user name belongs to an application service.")
        check_not_reserved(localpart)
        if any(pattern.matches(localpart) for pattern in self._settings.reserved_localparts):
            raise user_in_use("This user name is reserved.")
        return user_id

    async def _guest_to_upgrade(self, body: Mapping[str, Any]) -> str | None:
        token = body.get("guest_access_token")
        if token is None:
            return None
        user_id = await self._sessions.find_owner(token)
        user = None if user_id is None else await self._accounts.find(user_id)
        if user is None or not user.is_guest:
            raise forbidden("`guest_access_token` is not the access token of a guest.")
        if body.get("username") != user.user_id[1:].partition(":")[0]:
            raise invalid_param("`username` must be the name of the guest.")
        return user.user_id

    async def _authorise(self, body: Mapping[str, Any], client: ClientDetails) -> AuthorisedRequest:
        kept = {key: body[key] for key in _REMEMBERED if body.get(key) is not None}
        if body.get("password") is not None:
            self._passwords.check_policy(body["password"])
            if not body.get("auth"):
                # A client may come back with nothing but its session: what is remembered is the hash.
                kept["password_hash"] = await self._passwords.hash(body["password"])
        return await self._interactive_auth.authorise(
            _OPERATION, None, self._flows, body.get("auth"), kept, client.address
        )

    async def _open(
        self, request: AuthorisedRequest, password: str | None, client: ClientDetails, guest_id: str | None
    ) -> dict[str, Any]:
        body = request.body
        password_hash = body.get("password_hash") if password is None else await self._passwords.hash(password)
        if password_hash is None:
            raise missing_param("`password` is missing.")
        self._limits.take("registration", client.address)
        user_id = guest_id or (
            self._check_name(body["username"]) if body.get("username") is not None else await self._free_user_id()
        )
        await self._gate.check_registration(user_id, client.address)
        session = None if body.get("inhibit_login") else self._sessions.plan(user_id, _client_of(body, client))
        also = [_UseRequest(request, user_id, self._addresses).write, *([] if session is None else [session.write])]
        if guest_id is not None:
            await self._accounts.upgrade_guest(guest_id, password_hash, also)
        else:
            consent = "1" if TERMS in request.completed else None
            user = User(user_id, "user", self._clock.now_ms(), password_hash=password_hash, consent_version=consent)
            await self._accounts.open(user, Profile(user_id[1:].partition(":")[0]), also)
        return _answer(user_id, session)

    async def _register_for_appservice(
        self, body: Mapping[str, Any], client: ClientDetails, access_token: str | None
    ) -> dict[str, Any]:
        """Spec: application-service-api #server-admin-style-permissions"""
        if access_token is None:
            raise missing_token()
        appservice_id = self._appservices.find_by_token(access_token)
        if appservice_id is None:
            raise unknown_token("The access token is not that of an application service.")
        username = body.get("username", body.get("user"))
        if username is None:
            raise missing_param("`username` is missing.")
        if not isinstance(username, str):
            raise bad_json("`username` must be a string.")
        localpart = check_localpart(username, self._server_name)
        user_id = user_id_of(localpart, self._server_name)
        if not self._appservices.may_create(appservice_id, user_id):
            raise exclusive("This user name lies outside of the application service's namespaces.")
        session = None if body.get("inhibit_login") else self._sessions.plan(user_id, client)
        user = User(user_id, "bot", self._clock.now_ms(), appservice_id=appservice_id)
        await self._accounts.open(user, Profile(localpart), [] if session is None else [session.write])
        return _answer(user_id, session)

    async def _free_user_id(self) -> str:
        while True:
            user_id = user_id_of(random_localpart(self._randomness), self._server_name)
            if await self._database.read(account_rows.find_user, user_id) is None:
                return user_id


class _UseRequest:
    """Uses up the auth session, and the registration token and the addresses that may be in it."""

    def __init__(self, request: AuthorisedRequest, user_id: str, addresses: Addresses | None) -> None:
        self._session_id = request.session_id
        self._user_id = user_id
        self._addresses = addresses

    def write(self, tx: Transaction) -> None:
        completed = ui_auth.take_session(tx, self._session_id)
        if completed is None:
            raise forbidden("This session has opened an account already.")
        if REGISTRATION_TOKEN in completed:
            registration_tokens.complete_use(tx, completed[REGISTRATION_TOKEN]["token"])
        for stage in STAGES:
            if stage in completed and self._addresses is not None:
                self._addresses.write_new(tx, self._user_id, completed[stage])


def _flows(
    settings: RegistrationSettings, extra_stages: Sequence[str], address_stages: Sequence[str]
) -> list[list[str]]:
    """What newcomers complete. No flow is a part of another one, or the shorter would always win."""
    shared = list(extra_stages)
    if settings.terms_url is not None:
        shared.append(TERMS)
    if settings.mode == "token":
        shared.append(REGISTRATION_TOKEN)
    choices: list[list[list[str]]] = []
    for stage, wanted in ((EMAIL_STAGE, settings.email), (MSISDN_STAGE, settings.phone)):
        if stage in address_stages and wanted != "off":
            choices.append([[stage]] if wanted == "required" else [[], [stage]])
    proofs = [[stage for choice in chosen for stage in choice] for chosen in product(*choices)]
    # Whoever may confirm an address or a number, or neither, is not asked for both.
    fewest = min(map(len, proofs))
    proofs = [proof for proof in proofs if len(proof) <= max(1, fewest)]
    needs_dummy = len(proofs) > 1 or not shared
    return [[*shared, *(proof or ([DUMMY] if needs_dummy else []))] for proof in proofs]


def _client_of(body: Mapping[str, Any], client: ClientDetails) -> ClientDetails:
    """The client, with what an earlier request of the same session said."""
    return ClientDetails(
        device_id=client.device_id or body.get("device_id"),
        display_name=client.display_name or body.get("initial_device_display_name"),
        can_refresh=client.can_refresh or bool(body.get("refresh_token")),
        address=client.address,
        user_agent=client.user_agent,
    )


def _answer(user_id: str, session: NewSession | None) -> dict[str, Any]:
    if session is not None:
        return session.as_json()
    return {"user_id": user_id, "home_server": user_id.partition(":")[2]}
