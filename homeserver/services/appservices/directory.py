"""The application services of this server: who has which token, and whose business a name is.

Spec: application-service-api #identity-assertion, #server-admin-style-permissions
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import MatrixError, exclusive, forbidden, missing_token, unknown_token
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.services.accounts.tokens import hash_token, user_locked
from homeserver.services.accounts.user_ids import identified_user_ids
from homeserver.services.appservices.appservice import Appservice
from homeserver.storage.accounts import User, find_user
from homeserver.storage.devices import find_device
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.accounts.ports import LoginRequest
    from homeserver.storage.database import Database
    from homeserver.web.request import Request

_DEVICE_PARAMETERS = ("device_id", "org.matrix.msc3202.device_id")


@dataclass(slots=True)
class _Known:
    user: User | None = None
    devices: set[str] = field(default_factory=set)


class AppserviceDirectory:
    """Implements the `AppserviceDirectory` of accounts."""

    def __init__(self, server_name: str, database: Database) -> None:
        self._server_name = server_name
        self._database = database
        self._by_id: dict[str, Appservice] = {}
        # By a hash, so that the time a look-up takes tells nothing of the tokens.
        self._by_token: dict[bytes, Appservice] = {}
        self._known: BoundedCache[str, _Known] = BoundedCache("appservice_requesters", 20_000)
        self._listeners: list[Callable[[str], None]] = []

    def on_contact(self, listener: Callable[[str], None]) -> None:
        """Have `listener(appservice_id)` called whenever a service asks for something: it is up."""
        self._listeners.append(listener)

    def put(self, appservice: Appservice) -> None:
        """Take a service in, in place of an older one of its ID. ValueError if its token is another's."""
        token_hash = hash_token(appservice.as_token)
        holder = self._by_token.get(token_hash)
        if holder is not None and holder.id != appservice.id:
            raise ValueError(f"`as_token` is that of the application service {holder.id} too; it must be unique")
        self.remove(appservice.id)
        self._by_id[appservice.id] = appservice
        self._by_token[token_hash] = appservice

    def remove(self, appservice_id: str) -> None:
        """Know a service no more."""
        old = self._by_id.pop(appservice_id, None)
        if old is not None:
            del self._by_token[hash_token(old.as_token)]

    def find(self, appservice_id: str) -> Appservice | None:
        return self._by_id.get(appservice_id)

    def all(self) -> Iterable[Appservice]:
        return list(self._by_id.values())

    # What accounts ask

    async def find_requester(self, token: str, request: Request) -> Requester | None:
        """Who asks with this `as_token`; None if it is nobody's.

        M_FORBIDDEN for a user that is not the service's or does not exist, M_UNKNOWN_DEVICE.
        """
        appservice = self._with_token(token)
        if appservice is None:
            return None
        for listener in self._listeners:
            listener(appservice.id)
        user_id = request.find_query("user_id") or appservice.sender
        if not appservice.owns(user_id):
            raise forbidden("The application service cannot act for this user: it is outside of its namespaces.")
        known = self._known.find(user_id)
        if known is None:
            known = _Known()
            self._known.put(user_id, known)
        user = await self._load_user(user_id, known)
        device_id = next((value for name in _DEVICE_PARAMETERS if (value := request.find_query(name))), None)
        if device_id is not None:
            await self._check_device(user_id, device_id, known)
        is_limited = appservice.is_rate_limited and user_id != appservice.sender
        return Requester(
            user_id,
            device_id,
            is_admin=user.admin,
            appservice_id=appservice.id,
            is_suspended=user.suspended,
            is_rate_limited=is_limited and not (user.admin or user.rate_limit_exempt),
        )

    def user_changed(self, user_id: str) -> None:
        """The standing of an account or its devices have changed: read them anew."""
        self._known.drop(user_id)

    def find_by_token(self, token: str) -> str | None:
        appservice = self._with_token(token)
        return None if appservice is None else appservice.id

    def find_exclusive_owner(self, user_id: str) -> str | None:
        return next((one.id for one in self._by_id.values() if one.owns_alone(user_id)), None)

    def may_create(self, appservice_id: str, user_id: str) -> bool:
        """Whether the service may make an account: one of its users, and none that another has for itself."""
        appservice = self._by_id.get(appservice_id)
        if appservice is None or not appservice.owns(user_id):
            return False
        return not any(one.owns_alone(user_id) for one in self._by_id.values() if one.id != appservice_id)

    # What rooms ask

    def check_alias(self, alias: str, appservice_id: str | None) -> None:
        """M_EXCLUSIVE for an alias that somebody else has reserved, or that a service has not."""
        asking = None if appservice_id is None else self._by_id.get(appservice_id)
        if asking is not None and not asking.has_alias(alias):
            raise exclusive("This alias lies outside of the application service's namespaces.")
        if any(one.has_alias_alone(alias) for one in self._by_id.values() if one is not asking):
            raise exclusive("This alias belongs to an application service.")

    def manages_alias(self, alias: str, appservice_id: str | None) -> bool:
        """Whether a service has full control over an alias."""
        asking = None if appservice_id is None else self._by_id.get(appservice_id)
        return asking is not None and asking.has_alias(alias)

    def _with_token(self, token: str) -> Appservice | None:
        found = self._by_token.get(hash_token(token))
        if found is None or not hmac.compare_digest(found.as_token.encode(), token.encode("utf-8", "surrogatepass")):
            return None
        return found

    async def _load_user(self, user_id: str, known: _Known) -> User:
        if known.user is None:
            known.user = await self._database.read(find_user, user_id)
        user = known.user
        if user is None:
            raise forbidden("The application service has not registered this user.")
        if user.deactivated:
            raise MatrixError("M_USER_DEACTIVATED", "This account has been deactivated.", 403)
        if user.locked:
            raise user_locked()
        return user

    async def _check_device(self, user_id: str, device_id: str, known: _Known) -> None:
        if device_id in known.devices:
            return
        if await self._database.read(find_device, user_id, device_id) is None:
            raise MatrixError("M_UNKNOWN_DEVICE", "This user has no such device.", 400)
        known.devices.add(device_id)


class AppserviceLogin:
    """`m.login.application_service`."""

    flow: dict[str, Any] = {"type": "m.login.application_service"}  # noqa: RUF012 - read only

    def __init__(self, server_name: str, appservices: AppserviceDirectory) -> None:
        self._server_name = server_name
        self._appservices = appservices

    async def login(self, request: LoginRequest) -> str:
        """M_MISSING_TOKEN, M_UNKNOWN_TOKEN, M_EXCLUSIVE."""
        if request.access_token is None:
            raise missing_token()
        appservice_id = self._appservices.find_by_token(request.access_token)
        appservice = None if appservice_id is None else self._appservices.find(appservice_id)
        if appservice is None:
            raise unknown_token("The access token is not that of an application service.")
        user_id = identified_user_ids(request.body, self._server_name)[-1]
        if not appservice.owns(user_id):
            raise exclusive("This user lies outside of the application service's namespaces.")
        return user_id
