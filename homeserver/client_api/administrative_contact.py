"""`/account/3pid` and its relatives, on a server that keeps no e-mail addresses and telephone numbers.

A server that keeps some mounts `third_party_ids.py` instead.

Spec: client-server-api #adding-account-administrative-contact-information
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue, MatrixError
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class AddBody(msgspec.Struct):
    client_secret: str
    sid: str


class BindBody(msgspec.Struct):
    client_secret: str
    id_server: str
    id_access_token: str
    sid: str


class PostBody(msgspec.Struct):
    three_pid_creds: dict[str, Any]


class RemoveBody(msgspec.Struct):
    medium: str
    address: str
    id_server: str | None = None


class AdministrativeContactApi:
    """Nobody has a third-party identifier, and nobody can add one."""

    @endpoint("GET", v3("/account/3pid"), operation="getAccount3PIDs")
    async def get_account_3pids(self, request: Request, requester: Requester) -> JsonValue:
        return {"threepids": []}

    @endpoint("POST", v3("/account/3pid/email/requestToken"), auth=Auth.NONE, operation="requestTokenTo3PIDEmail")
    @endpoint("POST", v3("/account/3pid/msisdn/requestToken"), auth=Auth.NONE, operation="requestTokenTo3PIDMSISDN")
    @endpoint("POST", v3("/register/email/requestToken"), auth=Auth.NONE, operation="requestTokenToRegisterEmail")
    @endpoint("POST", v3("/register/msisdn/requestToken"), auth=Auth.NONE, operation="requestTokenToRegisterMSISDN")
    @endpoint(
        "POST",
        v3("/account/password/email/requestToken"),
        auth=Auth.NONE,
        operation="requestTokenToResetPasswordEmail",
    )
    @endpoint(
        "POST",
        v3("/account/password/msisdn/requestToken"),
        auth=Auth.NONE,
        operation="requestTokenToResetPasswordMSISDN",
    )
    async def request_token(self, request: Request) -> JsonValue:
        raise _denied()

    @endpoint("POST", v3("/account/3pid/add"), operation="add3PID", body=AddBody)
    async def add(self, request: Request, requester: Requester, body: AddBody) -> JsonValue:
        raise _denied()

    @endpoint("POST", v3("/account/3pid/bind"), operation="bind3PID", body=BindBody)
    async def bind(self, request: Request, requester: Requester, body: BindBody) -> JsonValue:
        raise _denied()

    @endpoint("POST", v3("/account/3pid"), operation="post3PIDs", body=PostBody)
    async def post(self, request: Request, requester: Requester, body: PostBody) -> JsonValue:
        raise _denied()

    @endpoint("POST", v3("/account/3pid/delete"), operation="delete3pidFromAccount", body=RemoveBody)
    @endpoint("POST", v3("/account/3pid/unbind"), operation="unbind3pidFromAccount", body=RemoveBody)
    async def remove(self, request: Request, requester: Requester, body: RemoveBody) -> JsonValue:
        # There is nothing to remove, and no identity server that knows of it through this server.
        return {"id_server_unbind_result": "no-support"}


def _denied() -> MatrixError:
    return MatrixError("M_THREEPID_DENIED", "This server keeps no third-party identifiers.", 403)
