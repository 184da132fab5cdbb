"""`/login/sso/redirect`: sends a browser to an identity provider, or lets its user choose one.

Mistakes are shown as pages, because people see them and not programs.

Spec: client-server-api #redirecting-to-the-authentication-server
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from starlette.responses import RedirectResponse, Response

from homeserver.client_api.paths import v3
from homeserver.plugin_api.pages import error_page, page
from homeserver.plugin_api.sso import check_redirect_url
from homeserver.protocol.errors import MatrixError
from homeserver.services.oauth_provider.server_metadata import PATH
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

if TYPE_CHECKING:
    from homeserver.plugin_api.sso import SsoProvider
    from homeserver.services.sso import SingleSignOn

_ACTIONS = ("login", "register")


class SsoLoginRedirectApi:
    def __init__(self, sso: SingleSignOn, public_baseurl: str) -> None:
        self._sso = sso
        self._public_baseurl = public_baseurl

    @endpoint("GET", v3("/login/sso/redirect"), auth=Auth.NONE, operation="redirectToSSO", limit="login_address")
    async def redirect_to_sso(self, request: Request) -> Response:
        providers = self._sso.providers
        if self._sso.own_pages:
            return self._to_own_pages(request)
        if not providers:
            return error_page("This server has no single sign-on.", 404)
        if len(providers) == 1:
            return await self._begin(request, providers[0])
        try:
            redirect_url = check_redirect_url(request.query_str("redirectUrl"))
        except MatrixError as mistake:
            return error_page(mistake.sentence, mistake.status)
        buttons = [self._button(provider, redirect_url, _action(request)) for provider in providers]
        return page("Log in", "<p>How do you want to log in?</p>" + "".join(buttons))

    @endpoint(
        "GET", v3("/login/sso/redirect/{idpId}"), auth=Auth.NONE, operation="redirectToIdP", limit="login_address"
    )
    async def redirect_to_idp(self, request: Request) -> Response:
        try:
            provider = self._sso.get(request.path["idpId"])
        except MatrixError as mistake:
            return error_page(mistake.sentence, mistake.status)
        return await self._begin(request, provider)

    def _to_own_pages(self, request: Request) -> Response:
        """Spec: client-server-api #oauth-20-aware-clients"""
        try:
            redirect_url = check_redirect_url(request.query_str("redirectUrl"))
        except MatrixError as mistake:
            return error_page(mistake.sentence, mistake.status)
        action = _action(request)
        query = {"redirectUrl": redirect_url} | ({} if action is None else {"action": action})
        url = f"{self._public_baseurl}{PATH}/continue?{urlencode(query)}"
        return RedirectResponse(url, 302, headers={"Cache-Control": "no-store"})

    async def _begin(self, request: Request, provider: SsoProvider) -> Response:
        try:
            redirect_url = check_redirect_url(request.query_str("redirectUrl"))
            return await provider.begin(request, redirect_url, _action(request))
        except MatrixError as mistake:
            return error_page(mistake.sentence, mistake.status)

    def _button(self, provider: SsoProvider, redirect_url: str, action: str | None) -> str:
        query = {"redirectUrl": redirect_url} | ({} if action is None else {"action": action})
        path = f"/_matrix/client/v3/login/sso/redirect/{quote(provider.provider_id, safe='')}"
        url = f"{self._public_baseurl}{path}?{urlencode(query)}"
        return f'<a class="button" href="{escape(url)}">{escape(provider.name)}</a>'


def _action(request: Request) -> str | None:
    action = request.find_query("action") or request.find_query("org.matrix.msc3824.action")
    return action if action in _ACTIONS else None
