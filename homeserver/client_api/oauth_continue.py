"""`m.login.sso` through the server's own pages, for clients of the legacy API that are aware of OAuth 2.0.

Whoever has logged in there, however, goes on to their client with a login token.

Spec: client-server-api #oauth-20-aware-clients
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import structlog
from starlette.responses import Response

from homeserver.client_api import oauth_pages as pages
from homeserver.client_api.oauth_browser import LARGEST_FORM, Browsers, as_page_error, leave_for
from homeserver.client_api.oauth_login import LOGIN, SIGN_UP
from homeserver.plugin_api.pages import error_page
from homeserver.plugin_api.sso import check_redirect_url, with_login_token
from homeserver.protocol.errors import MatrixError, forbidden
from homeserver.services.oauth_provider.server_metadata import PATH
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

if TYPE_CHECKING:
    from homeserver.services.accounts.login_methods import LoginTokens
    from homeserver.services.accounts.sessions import Sessions
    from homeserver.services.oauth_provider.server_metadata import Places

CONTINUE = f"{PATH}/continue"
_log = structlog.get_logger("homeserver.oauth_provider")


class OAuthContinueApi:
    def __init__(self, places: Places, browsers: Browsers, sessions: Sessions, login_tokens: LoginTokens) -> None:
        self._places = places
        self._browsers = browsers
        self._sessions = sessions
        self._login_tokens = login_tokens

    @endpoint("GET", CONTINUE, auth=Auth.NONE, limit="oauth_page")
    async def show(self, request: Request) -> Response:
        visitor = await self._browsers.visitor(request)
        try:
            redirect_url = check_redirect_url(request.query_str("redirectUrl"))
        except MatrixError as mistake:
            return error_page(*as_page_error(mistake))
        following = f"{CONTINUE}?{urlencode({'redirectUrl': redirect_url})}"
        if visitor.session is None:
            page = SIGN_UP if request.find_query("action") == "register" else LOGIN
            return self._browsers.keep(visitor, self._browsers.redirect(page, next=following))
        target = urlsplit(redirect_url)
        leads_to = f"{target.scheme}://{target.netloc}" if target.scheme in ("http", "https") else f"{target.scheme}:"
        answer = pages.show(
            "Continue to your account?",
            pages.facts([("Your account", visitor.session.user_id), ("You will be sent to", leads_to)]),
            pages.paragraph("If you do not know this app, close this page: it would get full access.", dim=True),
            pages.form(self._places("continue"), visitor.csrf, pages.button("Continue"), redirect_url=redirect_url),
            pages.form(
                self._places("logout"),
                visitor.csrf,
                pages.button("Use another account", kind="quiet"),
                next=following,
            ),
            leads_to=leads_to,
        )
        return self._browsers.keep(visitor, answer)

    @endpoint("POST", CONTINUE, auth=Auth.NONE, limit="oauth_page", body=bytes, max_body_bytes=LARGEST_FORM)
    async def go_on(self, request: Request, body: bytes) -> Response:
        visitor = await self._browsers.visitor(request)
        try:
            form = await self._browsers.form(request, body, visitor)
            if visitor.session is None:
                raise forbidden("You are not logged in any more. Go back to your app and try again.")
            redirect_url = check_redirect_url(form.get("redirect_url", ""))
            user_id = visitor.session.user_id
            await self._sessions.check_may_begin(user_id)
        except MatrixError as error:
            return error_page(*as_page_error(error))
        _log.info("login token for a client", user_id=user_id, scheme=urlsplit(redirect_url).scheme)
        return leave_for(with_login_token(redirect_url, await self._login_tokens.issue(user_id)))
