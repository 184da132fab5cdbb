"""`/account/deactivate`: closing one's account.

Spec: client-server-api #account-deactivation
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester
from homeserver.web.runner import check_body

if TYPE_CHECKING:
    from homeserver.services.accounts.accounts import Accounts
    from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth
    from homeserver.services.third_party_ids.bindings import Bindings


class _DeactivateBody(msgspec.Struct):
    erase: bool | None = None
    id_server: str | None = None


class AccountDeactivationApi:
    """`bindings` is None where no address is published through this server."""

    def __init__(
        self, accounts: Accounts, interactive_auth: UserInteractiveAuth, bindings: Bindings | None = None
    ) -> None:
        self._accounts = accounts
        self._interactive_auth = interactive_auth
        self._bindings = bindings

    @endpoint(
        "POST",
        v3("/account/deactivate"),
        operation="deactivateAccount",
        limit="account",
        body=dict,
        optional_body=True,
    )
    async def deactivate_account(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        check_body(body, _DeactivateBody)
        user_id = requester.user_id
        kept = {key: body[key] for key in ("erase",) if key in body}
        if requester.appservice_id is None:
            authorised = await self._interactive_auth.authorise_account(
                "deactivate", user_id, body.get("auth"), kept, request.client_address, fixed=("erase",)
            )
            kept = dict(authorised.body)
        await self._accounts.deactivate(user_id, erase=bool(kept.get("erase")))
        if self._bindings is None:
            # Nothing was ever bound, so there is nothing that could fail to be unbound.
            return {"id_server_unbind_result": "success"}
        return {"id_server_unbind_result": await self._bindings.unbind_all(user_id)}
