"""Logs people in and out: a session is a device with an access token and, for clients that can, a refresh token.

Spec: client-server-api #relationship-between-access-tokens-and-devices
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import MatrixError, forbidden, invalid_param, unknown, unknown_token
from homeserver.services.accounts.tokens import hash_token, user_locked
from homeserver.services.accounts.user_ids import random_device_id
from homeserver.storage import access_tokens, accounts, browser_sessions, devices, oauth_grants
from homeserver.storage.access_tokens import Rotation, TokenPair
from homeserver.storage.devices import Device

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.accounts.ports import CrossSigningKeyIds, LoginMethod, LoginRequest
    from homeserver.services.accounts.tokens import Tokens
    from homeserver.storage.database import Database, Transaction
    from homeserver.storage.devices import DeviceRows
    from homeserver.web.requester import Requester
    from homeserver_config.sections.sessions import SessionSettings

AlsoWrite = Callable[["Transaction"], None]
"""Further SQL in the transaction that begins a session."""

_LONGEST_DEVICE_ID = 255
_LONGEST_DISPLAY_NAME = 256


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client gets. `expires_in_ms` None: the access token does not expire."""

    access_token: str
    refresh_token: str | None
    expires_in_ms: int | None

    def as_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"access_token": self.access_token}
        if self.refresh_token is not None:
            body["refresh_token"] = self.refresh_token
        if self.expires_in_ms is not None:
            body["expires_in_ms"] = self.expires_in_ms
        return body


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session about to begin: `write` stores it, in whatever transaction it belongs to."""

    user_id: str
    device: Device
    credentials: Credentials
    pair: TokenPair
    now_ms: int
    max_devices: int
    device_rows: Sequence[DeviceRows]

    def write(self, tx: Transaction) -> None:
        device_id = self.device.device_id
        if devices.create_device(tx, self.user_id, self.device, self.device_rows):
            self._make_room(tx)
        else:
            # The same device again: what it held before must not work any more.
            access_tokens.delete_for_devices(tx, self.user_id, [device_id])
            oauth_grants.delete_grants(tx, self.user_id, [device_id])
        access_tokens.create_tokens(tx, self.user_id, device_id, self.pair, self.now_ms)

    def _make_room(self, tx: Transaction) -> None:
        """End the devices not used for longest, if there are too many with the new one."""
        all_devices = devices.load_devices(tx.connection, self.user_id)
        surplus = len(all_devices) - self.max_devices
        if surplus <= 0:
            return
        others = [one for one in all_devices if one.device_id != self.device.device_id]
        others.sort(key=lambda one: one.last_seen_ms or one.created_ms)
        devices.delete_devices(tx, self.user_id, [one.device_id for one in others[:surplus]], self.device_rows)

    def as_json(self) -> dict[str, Any]:
        """The keys that login and registration share. Spec: client-server-api #legacy-login"""
        return {
            "user_id": self.user_id,
            "home_server": self.user_id.partition(":")[2],
            "device_id": self.device.device_id,
            **self.credentials.as_json(),
        }


@dataclass(frozen=True, slots=True)
class ClientDetails:
    """What a client says about itself when it logs in or registers."""

    device_id: str | None = None
    display_name: str | None = None
    can_refresh: bool = False
    address: str = ""
    user_agent: str = ""


class Sessions:
    """Begins, renews and ends sessions. `methods` are the ways to log in, in the order `GET /login` lists them."""

    def __init__(
        self,
        settings: SessionSettings,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        tokens: Tokens,
        cross_signing_keys: CrossSigningKeyIds,
        methods: Iterable[LoginMethod],
        device_rows: Sequence[DeviceRows] = (),
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._tokens = tokens
        self._cross_signing_keys = cross_signing_keys
        self._device_rows = device_rows
        self._methods: dict[str, LoginMethod] = {}
        for method in methods:
            kind = method.flow["type"]
            if kind in self._methods:
                raise ValueError(f"two login methods answer to {kind}")
            self._methods[kind] = method

    def flows(self) -> list[dict[str, Any]]:
        """The flows of `GET /login`."""
        return [method.flow for method in self._methods.values()]

    async def login(self, request: LoginRequest, client: ClientDetails) -> NewSession:
        """Log in by whichever method the body names.

        M_UNKNOWN for a type nobody answers to, M_FORBIDDEN, M_USER_DEACTIVATED, M_USER_LOCKED.
        """
        return await self.begin(await self.identify(request), client)

    def has_method(self, kind: str) -> bool:
        """Whether one can log in like this, e.g. `m.login.password`."""
        return kind in self._methods

    async def identify(self, request: LoginRequest) -> str:
        """Who logs in, by whichever method the body names; no session begins. M_UNKNOWN, M_FORBIDDEN."""
        method = self._methods.get(str(request.body.get("type")))
        if method is None:
            raise unknown("This login type is not supported.")
        return await method.login(request)

    async def check_may_begin(self, user_id: str) -> None:
        """M_FORBIDDEN without such an account, M_USER_DEACTIVATED, M_USER_LOCKED."""
        user = await self._database.read(accounts.find_user, user_id)
        if user is None:
            raise forbidden("There is no such account.")
        if user.deactivated:
            raise MatrixError("M_USER_DEACTIVATED", "This account has been deactivated.", 403)
        if user.locked:
            raise user_locked()

    async def begin(self, user_id: str, client: ClientDetails, also: Sequence[AlsoWrite] = ()) -> NewSession:
        """Begin a session of an existing account, whoever vouched for it. `also` is written with it."""
        await self.check_may_begin(user_id)
        if client.device_id and await self._cross_signing_keys.has_key(user_id, client.device_id):
            raise forbidden("This device ID is the ID of a cross-signing key.")
        session = self.plan(user_id, client)
        await self._database.write(_write_all, session, also)
        self._tokens.forget_user(user_id)
        return session

    def plan(self, user_id: str, client: ClientDetails) -> NewSession:
        """A session with fresh tokens, not yet stored. M_INVALID_PARAM for an impossible device ID or name."""
        now_ms = self._clock.now_ms()
        device_id = client.device_id or random_device_id(self._randomness)
        if len(device_id.encode("utf-8", "surrogatepass")) > _LONGEST_DEVICE_ID:
            raise invalid_param(f"A device ID may have at most {_LONGEST_DEVICE_ID} bytes.")
        check_display_name(client.display_name)
        device = Device(device_id, client.display_name, now_ms, now_ms, client.address, client.user_agent)
        credentials, pair = self.make_tokens(now_ms, can_refresh=client.can_refresh)
        most = self._settings.max_devices
        return NewSession(user_id, device, credentials, pair, now_ms, most, self._device_rows)

    async def refresh(self, refresh_token: str) -> Credentials:
        """Exchange a refresh token. M_UNKNOWN_TOKEN: hard for one that is not known, soft for one used up or expired.

        One of the OAuth 2.0 API is not known here: it belongs to a client, which has to say who it is.

        Spec: client-server-api #refreshing-access-tokens
        """
        now_ms = self._clock.now_ms()
        credentials, pair = self.make_tokens(now_ms, can_refresh=True)
        rotation = await self._database.write(_rotate_legacy, hash_token(refresh_token), pair, now_ms)
        if rotation.refused is not None:
            raise unknown_token("This refresh token is not valid.", soft_logout=rotation.refused != "unknown")
        user = await self._database.read(accounts.find_user, rotation.user_id)
        if user is not None and user.locked:
            raise user_locked()
        self._tokens.forget_user(rotation.user_id)
        return credentials

    async def find_owner(self, access_token: str) -> str | None:
        """The user with this access token; None if it is not known or has expired."""
        session = await self._database.read(access_tokens.find_session, hash_token(access_token))
        if session is None or session.deactivated:
            return None
        is_over = session.expires_ms is not None and session.expires_ms <= self._clock.now_ms()
        return None if is_over else session.user_id

    async def logout(self, requester: Requester) -> None:
        """End the requester's session: the device with all its tokens, or the token alone if it has no device."""
        if requester.device_id is not None:
            device_ids = [requester.device_id]
            await self._database.write(devices.delete_devices, requester.user_id, device_ids, self._device_rows)
        elif requester.token_nid is not None:
            await self._database.write(access_tokens.delete_token, requester.token_nid)
        self._tokens.forget_user(requester.user_id)

    async def logout_all(self, user_id: str) -> None:
        """End all sessions of a user, those in browsers included."""
        await self._database.write(_end_all, user_id, self._device_rows)
        self._tokens.forget_user(user_id)

    def make_tokens(self, now_ms: int, *, can_refresh: bool) -> tuple[Credentials, TokenPair]:
        """Fresh tokens, and what is stored of them."""
        settings = self._settings
        lifetime = settings.refreshable_access_token_lifetime if can_refresh else settings.access_token_lifetime
        access_token = "sta_" + self._randomness.token()
        refresh_token = "str_" + self._randomness.token() if can_refresh else None
        pair = TokenPair(
            hash_token(access_token),
            None if lifetime is None else now_ms + lifetime,
            None if refresh_token is None else hash_token(refresh_token),
            None if settings.refresh_token_lifetime is None else now_ms + settings.refresh_token_lifetime,
        )
        return Credentials(access_token, refresh_token, None if lifetime is None else int(lifetime)), pair


def _write_all(tx: Transaction, session: NewSession, also: Sequence[AlsoWrite]) -> None:
    session.write(tx)
    for write in also:
        write(tx)


def _rotate_legacy(tx: Transaction, refresh_hash: bytes, pair: TokenPair, now_ms: int) -> Rotation:
    if oauth_grants.find_grant_of_refresh_token(tx.connection, refresh_hash) is not None:
        return Rotation(refused="unknown")
    return access_tokens.rotate(tx, refresh_hash, pair, now_ms)


def _end_all(tx: Transaction, user_id: str, rows: Sequence[DeviceRows]) -> None:
    devices.delete_all_devices(tx, user_id, rows)
    browser_sessions.delete_for_user(tx, user_id)


def check_display_name(name: str | None) -> None:
    """M_INVALID_PARAM for the name of a device that is too long."""
    if name is not None and len(name) > _LONGEST_DISPLAY_NAME:
        raise invalid_param(f"A device's name may have at most {_LONGEST_DISPLAY_NAME} characters.")


def client_details(body: Mapping[str, Any], address: str, user_agent: str) -> ClientDetails:
    """The session's part of a login or registration body whose types were checked."""
    return ClientDetails(
        device_id=body.get("device_id"),
        display_name=body.get("initial_device_display_name"),
        can_refresh=bool(body.get("refresh_token")),
        address=address,
        user_agent=user_agent,
    )
