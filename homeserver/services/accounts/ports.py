"""The seams of accounts: what other parts and plugins supply.

Each is a `Protocol`; the null implementations stand in where the part is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from homeserver.storage.accounts import User
    from homeserver.storage.database import Transaction
    from homeserver.storage.ui_auth import UiAuthSession
    from homeserver.web.request import Request
    from homeserver.web.requester import Requester


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """The body of `POST /login` as sent, where it came from, and the access token sent along, if any."""

    body: Mapping[str, Any]
    address: str
    access_token: str | None = None


class LoginMethod(Protocol):
    """One way to log in."""

    @property
    def flow(self) -> dict[str, Any]:
        """The entry of `GET /login`, with the `type` this method answers to."""

    async def login(self, request: LoginRequest) -> str:
        """The user ID of an existing account; MatrixError (M_FORBIDDEN ...) if the credentials do not hold."""


class AuthStage(Protocol):
    """One stage of User-Interactive Authentication.

    Spec: client-server-api #authentication-types
    """

    @property
    def stage_type(self) -> str: ...

    @property
    def proves_account(self) -> bool:
        """Whether this stage alone shows that the account's owner is asking, as a password does."""

    async def is_available_to(self, user_id: str) -> bool:
        """Whether this user could complete it; asked of stages that prove the account."""

    async def params(self) -> dict[str, Any] | None:
        """What clients must know for it, None without anything."""

    async def check(self, auth: Mapping[str, Any], session: UiAuthSession, address: str) -> Any:
        """What the stage found out, a JSON value kept in the session; MatrixError if the attempt failed."""

    def reserve(self, tx: Transaction, finding: Any) -> None:
        """Claim what may run out, in the transaction that notes the stage as completed; MatrixError if it has."""

    def release(self, tx: Transaction, finding: Any) -> None:
        """The session expired unused: give back what `reserve` claimed."""


class AppserviceDirectory(Protocol):
    """The application services of this server, as far as accounts ask for them."""

    async def find_requester(self, token: str, request: Request) -> Requester | None:
        """Who asks with this `as_token`, identity assertion included; None if no application service has it.

        Raises M_FORBIDDEN when it asserts a user outside of its namespaces.
        """

    def find_by_token(self, token: str) -> str | None:
        """The ID of the application service with this `as_token`."""

    def find_exclusive_owner(self, user_id: str) -> str | None:
        """The ID of the application service whose exclusive namespace holds this user ID."""

    def may_create(self, appservice_id: str, user_id: str) -> bool:
        """Whether the user ID lies in one of the application service's namespaces."""

    def user_changed(self, user_id: str) -> None:
        """The standing of an account, or its devices, have changed."""


class NoAppservices:
    """A server without application services."""

    async def find_requester(self, token: str, request: Request) -> Requester | None:
        return None

    def find_by_token(self, token: str) -> str | None:
        return None

    def find_exclusive_owner(self, user_id: str) -> str | None:
        return None

    def may_create(self, appservice_id: str, user_id: str) -> bool:
        return False

    def user_changed(self, user_id: str) -> None:
        """Nobody asks for this user."""


class RoomDeparture(Protocol):
    """Takes a deactivated user out of their rooms."""

    async def leave_all_rooms(self, user_id: str) -> None:
        """Leave every joined room and refuse every invite; may be called again after a crash half way."""


class CrossSigningKeyIds(Protocol):
    """Knows the cross-signing keys, whose IDs no device may have."""

    async def has_key(self, user_id: str, key_id: str) -> bool: ...


class NoCrossSigningKeys:
    """A server without end-to-end encryption."""

    async def has_key(self, user_id: str, key_id: str) -> bool:
        return False


class AccountObserver(Protocol):
    """Hears of accounts coming and going, after the commit."""

    async def account_created(self, user: User) -> None: ...

    async def account_deactivated(self, user_id: str, erase: bool) -> None: ...


class RegistrationGate(Protocol):
    """What plugins have to say of an account before it is opened."""

    async def check_registration(self, user_id: str, address: str) -> None:
        """Raises MatrixError to refuse it."""


class OpenRegistration:
    """A server without plugins: nobody objects."""

    async def check_registration(self, user_id: str, address: str) -> None:
        return
