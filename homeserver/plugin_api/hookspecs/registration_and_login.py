"""Hooks about accounts: ways to log in and to prove who one is, a say in both, and the news of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from homeserver.plugin_api.accounts import Account, AuthStage, LoginAttempt, LoginMethod, RegistrationAttempt
from homeserver.plugin_api.markers import hookspec
from homeserver.plugin_api.sso import SsoProvider


class AccountHooks(Protocol):
    @hookspec
    async def check_login(self, attempt: LoginAttempt) -> None:
        """May this user log in now? Asked after the credentials held. Raise MatrixError to refuse."""

    @hookspec
    async def check_registration(self, attempt: RegistrationAttempt) -> None:
        """May this account be opened? Asked after all stages are complete. Raise MatrixError to refuse."""

    @hookspec
    def register_login_methods(self) -> Sequence[LoginMethod]:
        """Ways to log in. One of a type the server has itself takes its place; two plugins of one type clash."""

    @hookspec
    def register_auth_stages(self) -> Sequence[AuthStage]:
        """Stages of User-Interactive Authentication, by the same rule as login methods."""

    @hookspec
    def register_sso_providers(self) -> Sequence[SsoProvider]:
        """Identity providers for `m.login.sso`, in the order in which clients show them. Ids must differ."""

    @hookspec
    async def on_account_created(self, account: Account) -> None:
        """An account was opened, whoever opened it."""

    @hookspec
    async def on_account_deactivated(self, user_id: str, erase: bool) -> None:
        """An account was closed for good; `erase` if its owner asked for their data to go."""
