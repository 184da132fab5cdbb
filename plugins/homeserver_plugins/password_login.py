"""Logs people in with the password of their account, as `m.login.password`.
The shortest login plugin there is: the model for one that asks a directory or another database instead.

Spec: client-server-api #password-based
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from homeserver.plugin_api import LoginMethod, LoginRequest, PluginContext, hookimpl


class PasswordLogin:
    """The login method."""

    flow: dict[str, Any] = {"type": "m.login.password"}  # noqa: RUF012 - read only

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    async def login(self, request: LoginRequest) -> str:
        account = await self._context.accounts.check_password(request.body, request.address)
        return account.user_id


class Plugin:
    """`password_login`: no settings."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    @hookimpl
    def register_login_methods(self) -> Sequence[LoginMethod]:
        return [PasswordLogin(self._context)]
