"""Auth stages of plugins, as User-Interactive Authentication runs them.

What a stage uses up is claimed in the transaction that notes it as completed, and given back with the session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from homeserver.plugin_api.accounts import AuthAttempt, CountedUse
from homeserver.protocol.errors import forbidden
from homeserver.storage import plugin_data, registration_tokens

if TYPE_CHECKING:
    from homeserver.plugin_api.accounts import AuthStage as PluginAuthStage
    from homeserver.plugin_api.accounts import RegistrationTokenUse
    from homeserver.runtime.clock import Clock
    from homeserver.storage.database import Transaction
    from homeserver.storage.ui_auth import UiAuthSession

_USES = "uses"


class PluginStage:
    """One plugin's stage. Implements `AuthStage`."""

    def __init__(self, plugin: str, stage: PluginAuthStage, clock: Clock) -> None:
        self._plugin = plugin
        self._stage = stage
        self._clock = clock
        self.stage_type = stage.stage_type
        self.proves_account = stage.proves_account

    async def is_available_to(self, user_id: str) -> bool:
        return await self._stage.is_available_to(user_id)

    async def params(self) -> dict[str, Any] | None:
        return await self._stage.params()

    async def check(self, auth: Mapping[str, Any], session: UiAuthSession, address: str) -> Any:
        found = await self._stage.check(AuthAttempt(auth, session.user_id, address))
        return {**found.value, _USES: [self._as_json(use) for use in found.uses]}

    def reserve(self, tx: Transaction, finding: Any) -> None:
        for use in finding[_USES]:
            if "token" in use:
                if not registration_tokens.reserve_use(tx, use["token"], use["used_ms"]):
                    raise forbidden("This registration token is not valid.")
            elif not plugin_data.claim_use(tx, self._plugin, use["key"], use["most"]):
                raise forbidden("This has been used as often as it may be.")

    def release(self, tx: Transaction, finding: Any) -> None:
        for use in finding[_USES]:
            if "token" in use:
                registration_tokens.release_use(tx, use["token"])
            else:
                plugin_data.release_use(tx, self._plugin, use["key"])

    def _as_json(self, use: CountedUse | RegistrationTokenUse) -> dict[str, Any]:
        if isinstance(use, CountedUse):
            return {"key": use.key, "most": use.most}
        return {"token": use.token, "used_ms": self._clock.now_ms()}
