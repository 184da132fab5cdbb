"""The plugin `totp`: the second factor at every password, and the API by which users set it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from homeserver.plugin_api import (
    Auth,
    AuthStage,
    JsonValue,
    LoginMethod,
    PluginContext,
    Request,
    Requester,
    Section,
    bad_json,
    endpoint,
    forbidden,
    hookimpl,
    missing_param,
)
from homeserver_plugins.totp.codes import as_text, as_uri
from homeserver_plugins.totp.factors import Factors
from homeserver_plugins.totp.sign_in import TwoFactorLogin, TwoFactors, TwoFactorStage

_PATH = "/_starling/client/v1/totp"
_ADMIN = "/_starling/admin/v1/totp/{userId}"


class TotpSettings(Section):
    """Codes of authenticator apps as a second factor."""

    issuer: str = Field(default="", description="What apps show beside the user; without it, the server's name.")


class Plugin:
    """`totp`."""

    Settings = TotpSettings

    def __init__(self, context: PluginContext, settings: TotpSettings) -> None:
        self._context = context
        self._issuer = settings.issuer or context.server_name
        self._factors = Factors(context)
        self._both = TwoFactors(context, self._factors)

    @hookimpl
    def register_login_methods(self) -> Sequence[LoginMethod]:
        return [TwoFactorLogin(self._both)]

    @hookimpl
    def register_auth_stages(self) -> Sequence[AuthStage]:
        return [TwoFactorStage(self._context, self._both)]

    @hookimpl
    def register_routes(self) -> Sequence[object]:
        return [self]

    @hookimpl
    async def on_account_deactivated(self, user_id: str) -> None:
        await self._factors.forget(user_id)

    @endpoint("GET", _PATH, auth=Auth.USER)
    async def show(self, request: Request, requester: Requester) -> JsonValue:
        return {
            "enabled": await self._factors.is_enabled(requester.user_id),
            "recovery_codes_left": await self._factors.recovery_codes_left(requester.user_id),
        }

    @endpoint("POST", _PATH + "/begin", auth=Auth.USER, limit="account", body=dict)
    async def begin(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        """A secret for the app. Needs the password: who found a phone unlocked must not lock its owner out."""
        if await self._factors.is_enabled(requester.user_id):
            raise forbidden("There is a second factor already.")
        await self._check_password(request, requester, body)
        secret = await self._factors.begin(requester.user_id)
        return {"secret": as_text(secret), "uri": as_uri(secret, requester.user_id, self._issuer)}

    @endpoint("POST", _PATH + "/confirm", auth=Auth.USER, limit="account", body=dict)
    async def confirm(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        return {"recovery_codes": await self._factors.confirm(requester.user_id, _text(body, "code"))}

    @endpoint("POST", _PATH + "/recovery_codes", auth=Auth.USER, limit="account", body=dict)
    async def renew_recovery_codes(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        if not await self._factors.is_enabled(requester.user_id):
            raise forbidden("There is no second factor.")
        await self._factors.check(requester.user_id, _text(body, "code"))
        return {"recovery_codes": await self._factors.renew_recovery_codes(requester.user_id)}

    @endpoint("POST", _PATH + "/remove", auth=Auth.USER, limit="account", body=dict)
    async def remove(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        code = _text(body, "code")
        await self._check_password(request, requester, body)
        await self._factors.check(requester.user_id, code)
        await self._factors.forget(requester.user_id)
        return {}

    @endpoint("DELETE", _ADMIN, auth=Auth.ADMIN)
    async def remove_for(self, request: Request, requester: Requester) -> JsonValue:
        """For who has lost both the app and the recovery codes."""
        await self._factors.forget(request.path["userId"])
        self._context.log.info("second factor removed", user_id=request.path["userId"], by=requester.user_id)
        return {}

    async def _check_password(self, request: Request, requester: Requester, body: Mapping[str, Any]) -> None:
        identifier = {"type": "m.id.user", "user": requester.user_id}
        login = {"identifier": identifier, "password": _text(body, "password")}
        await self._context.accounts.check_password(login, request.client_address)


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if value is None:
        raise missing_param(f"`{key}` is missing.")
    if not isinstance(value, str) or len(value) > 512:
        raise bad_json(f"`{key}` must be a string of at most 512 characters.")
    return value
