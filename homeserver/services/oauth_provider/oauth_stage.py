"""`m.oauth`: the stage of User-Interactive Authentication that is completed on the account management pages.

Spec: client-server-api #oauth-authentication
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import forbidden

if TYPE_CHECKING:
    from homeserver.services.oauth_provider.browser_sessions import Approvals
    from homeserver.storage.database import Transaction
    from homeserver.storage.ui_auth import UiAuthSession

OAUTH = "m.oauth"
UNSTABLE_OAUTH = "org.matrix.cross_signing_reset"
FLOWS = ((OAUTH,), (UNSTABLE_OAUTH,))


class OAuthStage:
    """Complete once the user has approved the reset of cross-signing. Implements `AuthStage`."""

    proves_account = False  # only one endpoint offers it

    def __init__(self, stage_type: str, approvals: Approvals) -> None:
        self.stage_type = stage_type
        self._approvals = approvals

    async def is_available_to(self, user_id: str) -> bool:
        return False

    async def params(self) -> dict[str, Any] | None:
        return {"url": self._approvals.url}

    async def check(self, auth: Mapping[str, Any], session: UiAuthSession, address: str) -> Any:
        if session.user_id is None or not await self._approvals.is_approved(session.user_id):
            raise forbidden("The reset has not been approved on the account page yet.")
        return True

    def reserve(self, tx: Transaction, finding: Any) -> None:
        """The approval is used up by the upload itself."""

    def release(self, tx: Transaction, finding: Any) -> None:
        """Nothing was claimed."""
