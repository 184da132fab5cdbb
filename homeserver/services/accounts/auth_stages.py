"""The stages of User-Interactive Authentication that come along.

Spec: client-server-api #authentication-types
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import bad_json, forbidden, missing_param
from homeserver.services.accounts.user_ids import find_user_ids
from homeserver.services.third_party_ids.ports import AddressOwners, NoAddresses
from homeserver.storage import accounts, registration_tokens

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.services.accounts.password_check import PasswordCheck
    from homeserver.storage.database import Database, Transaction
    from homeserver.storage.ui_auth import UiAuthSession

DUMMY = "m.login.dummy"
PASSWORD = "m.login.password"  # noqa: S105 - the name of a stage
REGISTRATION_TOKEN = "m.login.registration_token"  # noqa: S105 - the name of a stage
TERMS = "m.login.terms"


class _Stage:
    """A stage that proves nothing about an account, needs no parameters and reserves nothing."""

    proves_account = False

    async def is_available_to(self, user_id: str) -> bool:
        return False

    async def params(self) -> dict[str, Any] | None:
        return None

    def reserve(self, tx: Transaction, finding: Any) -> None:
        """There is nothing to claim."""

    def release(self, tx: Transaction, finding: Any) -> None:
        """Nothing was claimed."""


class DummyStage(_Stage):
    """Always succeeds. Spec: client-server-api #dummy-auth"""

    stage_type = DUMMY

    async def check(self, auth: Mapping[str, Any], session: UiAuthSession, address: str) -> Any:
        return True


class PasswordStage(_Stage):
    """The password of the account that asks. Spec: client-server-api #password-based"""

    stage_type = PASSWORD
    proves_account = True

    def __init__(
        self, server_name: str, database: Database, check: PasswordCheck, owners: AddressOwners | None = None
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._check = check
        self._owners = owners or NoAddresses()

    async def is_available_to(self, user_id: str) -> bool:
        user = await self._database.read(accounts.find_user, user_id)
        return user is not None and user.password_hash is not None

    async def check(self, auth: Mapping[str, Any], session: UiAuthSession, address: str) -> Any:
        password = auth.get("password")
        if password is None:
            raise missing_param("`password` is missing.")
        if not isinstance(password, str):
            raise bad_json("`password` must be a string.")
        if session.user_id is not None and "identifier" not in auth and "user" not in auth:
            user_ids = [session.user_id]
        else:
            user_ids = await find_user_ids(auth, self._server_name, self._owners)
        if session.user_id is not None and session.user_id not in user_ids:
            raise forbidden("This is the password of another account.")
        user = await self._check.check([session.user_id or user_ids[0]], password, address)
        return {"user_id": user.user_id}


class RegistrationTokenStage(_Stage):
    """A token that lets one more account be opened. Spec: client-server-api #token-authenticated-registration"""

    stage_type = REGISTRATION_TOKEN

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def check(self, auth: Mapping[str, Any], session: UiAuthSession, address: str) -> Any:
        token = auth.get("token")
        if token is None:
            raise missing_param("`token` is missing.")
        if not isinstance(token, str):
            raise bad_json("`token` must be a string.")
        return {"token": token, "used_ms": self._clock.now_ms()}

    def reserve(self, tx: Transaction, finding: Any) -> None:
        if not registration_tokens.reserve_use(tx, finding["token"], finding["used_ms"]):
            raise forbidden("This registration token is not valid.")

    def release(self, tx: Transaction, finding: Any) -> None:
        registration_tokens.release_use(tx, finding["token"])


class TermsStage(_Stage):
    """The terms of use that newcomers accept. Spec: client-server-api #terms-of-service-at-registration"""

    stage_type = TERMS

    def __init__(self, url: str, version: str = "1") -> None:
        self._policies = {
            "terms_of_service": {"version": version, "en": {"name": "Terms of Service", "url": url}},
        }

    async def params(self) -> dict[str, Any] | None:
        return {"policies": self._policies}

    async def check(self, auth: Mapping[str, Any], session: UiAuthSession, address: str) -> Any:
        return True
