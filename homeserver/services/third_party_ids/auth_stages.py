"""`m.login.email.identity` and `m.login.msisdn`: stages that hold once an address was confirmed for the request.

They open accounts and reset passwords; nothing else is authorised by an address.

Spec: client-server-api #email-based-identity--homeserver
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import MatrixError, bad_json, missing_param
from homeserver.protocol.third_party_ids import EMAIL, MSISDN

if TYPE_CHECKING:
    from homeserver.services.third_party_ids.validation import Validation
    from homeserver.storage.database import Transaction
    from homeserver.storage.ui_auth import UiAuthSession

EMAIL_STAGE = "m.login.email.identity"
MSISDN_STAGE = "m.login.msisdn"
STAGES = {EMAIL_STAGE: EMAIL, MSISDN_STAGE: MSISDN}
_PURPOSES = {"register": "register", "password": "password"}


class AddressStage:
    """One of the two, by its type. Implements `AuthStage`."""

    proves_account = False

    def __init__(self, stage_type: str, validation: Validation) -> None:
        self.stage_type = stage_type
        self._medium = STAGES[stage_type]
        self._validation = validation

    async def is_available_to(self, user_id: str) -> bool:
        return False

    async def params(self) -> dict[str, Any] | None:
        return None

    async def check(self, auth: Mapping[str, Any], session: UiAuthSession, address: str) -> Any:
        credentials = auth.get("threepid_creds")
        if credentials is None:
            raise missing_param("`threepid_creds` is missing.")
        if not isinstance(credentials, dict):
            raise bad_json("`threepid_creds` must be an object.")
        purpose = _PURPOSES.get(session.operation)
        if purpose is None:
            raise MatrixError("M_THREEPID_AUTH_FAILED", "This request cannot be authorised by an address.", 401)
        try:
            found = await self._validation.get_validated(
                purpose, _text(credentials, "sid"), _text(credentials, "client_secret")
            )
        except MatrixError as error:
            if not error.errcode.startswith(("M_NO_", "M_SESSION_")):
                raise
            raise MatrixError("M_THREEPID_AUTH_FAILED", error.sentence, 401) from None
        if found.medium != self._medium:
            raise MatrixError("M_THREEPID_AUTH_FAILED", "There is no such session.", 401)
        return {
            "sid": found.session_id,
            "medium": found.medium,
            "address": found.address,
            "validated_ms": found.validated_ms,
        }

    def reserve(self, tx: Transaction, finding: Any) -> None:
        """An address is claimed with what the request does."""

    def release(self, tx: Transaction, finding: Any) -> None:
        """Nothing was claimed."""


def _text(credentials: Mapping[str, Any], key: str) -> str:
    value = credentials.get(key)
    if value is None:
        raise missing_param(f"`threepid_creds.{key}` is missing.")
    if not isinstance(value, str):
        raise bad_json(f"`threepid_creds.{key}` must be a string.")
    return value
