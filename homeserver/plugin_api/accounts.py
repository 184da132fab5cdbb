"""What plugins see of accounts: who logs in, who registers, and the ways to prove who one is.
Everything here is a value or a protocol; the server's own services stay behind the seam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `kind` is "user", "guest", "bot" or "support"."""

    user_id: str
    kind: str
    admin: bool
    deactivated: bool
    created_ms: int


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """Somebody who has proved to be `user_id`, by `login_type`, from an IP address."""

    user_id: str
    login_type: str
    address: str


@dataclass(frozen=True, slots=True)
class RegistrationAttempt:
    """Somebody about to open an account. `origin` is "client", or the name of the plugin that opens it for them."""

    user_id: str
    origin: str
    address: str = ""


class LoginRequest(Protocol):
    """The body of `POST /login` as sent, where it came from, and the access token sent along, if any."""

    @property
    def body(self) -> Mapping[str, Any]: ...
    @property
    def address(self) -> str: ...
    @property
    def access_token(self) -> str | None: ...


class LoginMethod(Protocol):
    """One way to log in. A plugin's method takes the place of the server's own of the same type."""

    @property
    def flow(self) -> dict[str, Any]:
        """The entry of `GET /login`, with the `type` this method answers to."""

    async def login(self, request: LoginRequest) -> str:
        """The user ID of an existing account; MatrixError (M_FORBIDDEN ...) if the credentials do not hold."""


@dataclass(frozen=True, slots=True)
class AuthAttempt:
    """One attempt at a stage: the `auth` object as sent, and for whom. `user_id` is None while registering."""

    auth: Mapping[str, Any]
    user_id: str | None
    address: str


@dataclass(frozen=True, slots=True)
class CountedUse:
    """One use of something that runs out, counted under `key` in the plugin's store; at most `most` uses."""

    key: str
    most: int


@dataclass(frozen=True, slots=True)
class RegistrationTokenUse:
    """One use of a registration token of this server."""

    token: str


@dataclass(frozen=True, slots=True)
class StageFinding:
    """What a stage found out: a JSON value, kept in the session, and what completing the stage uses up.

    Uses are claimed in the transaction that notes the stage as completed, and given back if the session expires.
    """

    value: Mapping[str, Any]
    uses: Sequence[CountedUse | RegistrationTokenUse] = ()


class AuthStage(Protocol):
    """One stage of User-Interactive Authentication. A plugin's stage takes the place of the server's of its type.

    Spec: client-server-api #authentication-types
    """

    @property
    def stage_type(self) -> str: ...

    @property
    def proves_account(self) -> bool:
        """Whether this stage alone shows that the account's owner is asking, as a password does."""

    @property
    def for_registration(self) -> bool:
        """Whether everybody who registers has to complete it."""

    async def is_available_to(self, user_id: str) -> bool:
        """Whether this user could complete it; asked of stages that prove the account."""

    async def params(self) -> dict[str, Any] | None:
        """What clients must know for it, None without anything."""

    async def check(self, attempt: AuthAttempt) -> StageFinding:
        """What the attempt shows; MatrixError if it failed."""
