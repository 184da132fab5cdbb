"""`/account/3pid` and its relatives, and `requestToken`, on a server that keeps addresses.

Spec: client-server-api #adding-account-administrative-contact-information
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.client_api.administrative_contact import AddBody, BindBody, PostBody, RemoveBody
from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.services.third_party_ids.token_requests import TokenRequest
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester
from homeserver.web.runner import check_body

if TYPE_CHECKING:
    from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth
    from homeserver.services.third_party_ids.addresses import Addresses
    from homeserver.services.third_party_ids.bindings import Bindings
    from homeserver.services.third_party_ids.token_requests import TokenRequests
    from homeserver.services.third_party_ids.validation import Validation

_LARGEST_ATTEMPT = 2**53


class EmailBody(msgspec.Struct):
    """An e-mail address to confirm. What names an identity server is ignored: this server confirms by itself."""

    client_secret: str
    email: str
    send_attempt: int
    next_link: str | None = None


class MsisdnBody(msgspec.Struct):
    """A telephone number to confirm."""

    client_secret: str
    country: str
    phone_number: str
    send_attempt: int
    next_link: str | None = None


class ThirdPartyIdsApi:
    def __init__(
        self,
        addresses: Addresses,
        requests: TokenRequests,
        validation: Validation,
        bindings: Bindings,
        interactive_auth: UserInteractiveAuth,
    ) -> None:
        self._addresses = addresses
        self._requests = requests
        self._validation = validation
        self._bindings = bindings
        self._interactive_auth = interactive_auth

    @endpoint("GET", v3("/account/3pid"), operation="getAccount3PIDs")
    async def get_account_3pids(self, request: Request, requester: Requester) -> JsonValue:
        return {
            "threepids": [
                {
                    "medium": one.medium,
                    "address": one.address,
                    "validated_at": one.validated_ms,
                    "added_at": one.added_ms,
                }
                for one in await self._addresses.of_user(requester.user_id)
            ]
        }

    @endpoint(
        "POST",
        v3("/register/email/requestToken"),
        auth=Auth.NONE,
        operation="requestTokenToRegisterEmail",
        body=EmailBody,
    )
    async def register_email(self, request: Request, body: EmailBody) -> JsonValue:
        return await self._requests.request_email(_token_request("register", request, body), body.email)

    @endpoint(
        "POST",
        v3("/account/password/email/requestToken"),
        auth=Auth.NONE,
        operation="requestTokenToResetPasswordEmail",
        body=EmailBody,
    )
    async def password_email(self, request: Request, body: EmailBody) -> JsonValue:
        return await self._requests.request_email(_token_request("password", request, body), body.email)

    @endpoint(
        "POST",
        v3("/account/3pid/email/requestToken"),
        auth=Auth.NONE,
        operation="requestTokenTo3PIDEmail",
        body=EmailBody,
    )
    async def add_email(self, request: Request, body: EmailBody) -> JsonValue:
        return await self._requests.request_email(_token_request("add", request, body), body.email)

    @endpoint(
        "POST",
        v3("/register/msisdn/requestToken"),
        auth=Auth.NONE,
        operation="requestTokenToRegisterMSISDN",
        body=MsisdnBody,
    )
    async def register_msisdn(self, request: Request, body: MsisdnBody) -> JsonValue:
        return await self._request_sms("register", request, body)

    @endpoint(
        "POST",
        v3("/account/password/msisdn/requestToken"),
        auth=Auth.NONE,
        operation="requestTokenToResetPasswordMSISDN",
        body=MsisdnBody,
    )
    async def password_msisdn(self, request: Request, body: MsisdnBody) -> JsonValue:
        return await self._request_sms("password", request, body)

    @endpoint(
        "POST",
        v3("/account/3pid/msisdn/requestToken"),
        auth=Auth.NONE,
        operation="requestTokenTo3PIDMSISDN",
        body=MsisdnBody,
    )
    async def add_msisdn(self, request: Request, body: MsisdnBody) -> JsonValue:
        return await self._request_sms("add", request, body)

    @endpoint("POST", v3("/account/3pid/add"), operation="add3PID", limit="account", body=dict)
    async def add(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        wanted = check_body(body, AddBody)
        await self._interactive_auth.authorise_account(
            "add3pid", requester.user_id, body.get("auth"), {"sid": wanted.sid}, request.client_address, fixed=("sid",)
        )
        session = await self._validation.get_validated("add", wanted.sid, wanted.client_secret)
        await self._addresses.add(requester.user_id, session)
        return {}

    @endpoint("POST", v3("/account/3pid/bind"), operation="bind3PID", limit="account", body=BindBody)
    async def bind(self, request: Request, requester: Requester, body: BindBody) -> JsonValue:
        await self._bind(requester, body)
        return {}

    @endpoint("POST", v3("/account/3pid"), operation="post3PIDs", limit="account", body=PostBody)
    async def post(self, request: Request, requester: Requester, body: PostBody) -> JsonValue:
        await self._bind(requester, check_body(body.three_pid_creds, BindBody))
        return {}

    @endpoint("POST", v3("/account/3pid/unbind"), operation="unbind3pidFromAccount", limit="account", body=RemoveBody)
    async def unbind(self, request: Request, requester: Requester, body: RemoveBody) -> JsonValue:
        result = await self._bindings.unbind(requester.user_id, body.medium, body.address, body.id_server)
        return {"id_server_unbind_result": result}

    @endpoint("POST", v3("/account/3pid/delete"), operation="delete3pidFromAccount", limit="account", body=RemoveBody)
    async def delete(self, request: Request, requester: Requester, body: RemoveBody) -> JsonValue:
        """The address goes whatever the identity server says of it; its refusal counts as no support."""
        await self._addresses.delete(requester.user_id, body.medium, body.address)
        result = await self._bindings.unbind_or_not(requester.user_id, body.medium, body.address, body.id_server)
        return {"id_server_unbind_result": result}

    async def _bind(self, requester: Requester, body: BindBody) -> None:
        await self._bindings.bind(requester.user_id, body.id_server, body.id_access_token, body.sid, body.client_secret)

    async def _request_sms(self, purpose: str, request: Request, body: MsisdnBody) -> JsonValue:
        return await self._requests.request_sms(_token_request(purpose, request, body), body.country, body.phone_number)


def _token_request(purpose: str, request: Request, body: EmailBody | MsisdnBody) -> TokenRequest:
    attempt = max(0, min(body.send_attempt, _LARGEST_ATTEMPT))
    return TokenRequest(purpose, body.client_secret, attempt, body.next_link, request.client_address)
