"""The pages on which people log in and sign up, with a password or through an identity provider.

Every attempt goes through the same services as those of the legacy API, with their limits.

Spec: client-server-api #oauth-20-api, #user-registration
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog
from starlette.responses import Response

from homeserver.client_api import oauth_pages as pages
from homeserver.client_api.oauth_browser import LARGEST_FORM, Browsers, Visitor, as_page_error, next_path
from homeserver.plugin_api.pages import error_page
from homeserver.protocol.errors import MatrixError
from homeserver.services.accounts.ports import LoginRequest
from homeserver.services.oauth_provider.server_metadata import PATH
from homeserver.services.oauth_provider.sign_up import FORM_STAGES, StageLeft
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

if TYPE_CHECKING:
    from homeserver.services.accounts.sessions import Sessions
    from homeserver.services.oauth_provider.server_metadata import Places
    from homeserver.services.oauth_provider.sign_up import SignUp
    from homeserver.services.sso import SingleSignOn

LOGIN, SIGN_UP, SSO, LOGOUT = (f"{PATH}/{name}" for name in ("login", "sign-up", "sso", "logout"))
_PASSWORD, _TOKEN = "m.login.password", "m.login.token"
_log = structlog.get_logger("homeserver.oauth_provider")


class OAuthLoginApi:
    def __init__(
        self,
        server_name: str,
        places: Places,
        browsers: Browsers,
        sessions: Sessions,
        sso: SingleSignOn,
        sign_up: SignUp,
    ) -> None:
        self._server_name = server_name
        self._places = places
        self._browsers = browsers
        self._sessions = sessions
        self._sso = sso
        self._sign_up = sign_up

    @endpoint("GET", LOGIN, auth=Auth.NONE, limit="oauth_page")
    async def show_login(self, request: Request) -> Response:
        visitor = await self._browsers.visitor(request)
        following = next_path(request.find_query("next"))
        if visitor.session is not None and request.find_query("again") is None:
            return self._browsers.redirect(following)
        return self._login_page(visitor, following)

    @endpoint("POST", LOGIN, auth=Auth.NONE, limit="login_address", body=bytes, max_body_bytes=LARGEST_FORM)
    async def login(self, request: Request, body: bytes) -> Response:
        visitor = await self._browsers.visitor(request)
        try:
            form = await self._browsers.form(request, body, visitor)
        except MatrixError as error:
            return error_page(*as_page_error(error))
        following, username = next_path(form.get("next")), form.get("username", "").strip()
        user = username if username.startswith("@") and ":" in username else username.removeprefix("@")
        login = {
            "type": _PASSWORD,
            "identifier": {"type": "m.id.user", "user": user},
            "password": form.get("password", ""),
        }
        try:
            user_id = await self._identified(login, request)
        except MatrixError as error:
            return self._login_page(visitor, following, username, error)
        return await self._logged_in(visitor, user_id, following)

    @endpoint("GET", SIGN_UP, auth=Auth.NONE, limit="oauth_page")
    async def show_sign_up(self, request: Request) -> Response:
        visitor = await self._browsers.visitor(request)
        return self._sign_up_page(visitor, next_path(request.find_query("next")))

    @endpoint("POST", SIGN_UP, auth=Auth.NONE, limit="login_address", body=bytes, max_body_bytes=LARGEST_FORM)
    async def sign_up(self, request: Request, body: bytes) -> Response:
        visitor = await self._browsers.visitor(request)
        try:
            form = await self._browsers.form(request, body, visitor)
        except MatrixError as error:
            return error_page(*as_page_error(error))
        following, username = next_path(form.get("next")), form.get("username", "").strip().removeprefix("@")
        caller = (request.client_address, request.user_agent)
        try:
            if "session" in form:
                user_id = await self._sign_up.go_on(form["session"], form, *caller)
            else:
                user_id = await self._sign_up.begin(username, form.get("password", ""), form, *caller)
        except StageLeft as left:
            return self._stage_page(visitor, following, left)
        except MatrixError as error:
            _log.info("sign-up refused", errcode=error.errcode, address=request.client_address)
            return self._sign_up_page(visitor, following, username, error)
        return await self._logged_in(visitor, user_id, following)

    @endpoint("GET", f"{SSO}/{{provider}}", auth=Auth.NONE, limit="login_address")
    async def begin_sso(self, request: Request) -> Response:
        """Off to an identity provider."""
        visitor = await self._browsers.visitor(request)
        action = "register" if request.find_query("action") == "register" else "login"
        try:
            provider = self._sso.get(request.path["provider"])
            back = f"{self._places('sso')}?check={visitor.csrf}"
            answer = await provider.begin(request, back, action)
        except MatrixError as error:
            return error_page(*as_page_error(error))
        following = next_path(request.find_query("next"))
        return self._browsers.keep(visitor, self._browsers.remember_next(answer, following))

    @endpoint("GET", SSO, auth=Auth.NONE, limit="login_address")
    async def end_sso(self, request: Request) -> Response:
        """Back from an identity provider, with a login token for us."""
        visitor = await self._browsers.visitor(request)
        check = request.find_query("check") or ""
        if not hmac.compare_digest(check.encode("utf-8", "replace"), visitor.csrf.encode()):
            return error_page("This login was begun in another browser. Go back to your app and try again.", 403)
        try:
            user_id = await self._identified({"type": _TOKEN, "token": request.query_str("loginToken")}, request)
        except MatrixError as error:
            return error_page(*as_page_error(error))
        return await self._logged_in(visitor, user_id, self._browsers.find_next(request))

    @endpoint("POST", LOGOUT, auth=Auth.NONE, limit="oauth_page", body=bytes, max_body_bytes=LARGEST_FORM)
    async def logout(self, request: Request, body: bytes) -> Response:
        visitor = await self._browsers.visitor(request)
        try:
            form = await self._browsers.form(request, body, visitor)
        except MatrixError as error:
            return error_page(*as_page_error(error))
        await self._browsers.sessions.end(visitor.secret)
        return self._browsers.leave(self._browsers.redirect(LOGIN, next=next_path(form.get("next"))))

    async def _identified(self, login: Mapping[str, object], request: Request) -> str:
        """The user ID of who logs in, whose account is in order."""
        try:
            user_id = await self._sessions.identify(LoginRequest(login, request.client_address))
            await self._sessions.check_may_begin(user_id)
        except MatrixError as error:
            _log.info(
                "browser login refused", method=login["type"], errcode=error.errcode, address=request.client_address
            )
            raise
        _log.info("browser login", method=login["type"], user_id=user_id, address=request.client_address)
        return user_id

    async def _logged_in(self, visitor: Visitor, user_id: str, following: str) -> Response:
        visitor = await self._browsers.begin(visitor, user_id)
        return self._browsers.keep(visitor, self._browsers.redirect(following))

    def _login_page(
        self, visitor: Visitor, following: str, username: str = "", error: MatrixError | None = None
    ) -> Response:
        sentence, status = (None, 200) if error is None else as_page_error(error)
        known = visitor.session
        if known is not None and not username:
            username = known.user_id[1:].partition(":")[0]
        parts = [pages.wrong(sentence)]
        if known is not None:
            parts.append(pages.paragraph("Please confirm that it is you."))
        if self._sessions.has_method(_PASSWORD):
            parts.append(
                pages.form(
                    self._places("login"),
                    visitor.csrf,
                    pages.username_field(self._server_name, username),
                    pages.password_field("Password", "password", new=False),
                    pages.button("Log in"),
                    next=following,
                )
            )
        parts.append(self._providers(following, "login"))
        if self._sign_up.is_open and known is None:
            url = f"{self._places('sign-up')}?next={quote(following, safe='')}"
            parts.append(pages.link_button("Create an account", url, quiet=True))
        answer = pages.show(f"Log in to {self._server_name}", *parts, status=status)
        return self._browsers.keep(visitor, answer)

    def _sign_up_page(
        self, visitor: Visitor, following: str, username: str = "", error: MatrixError | None = None
    ) -> Response:
        sentence, status = (None, 200) if error is None else as_page_error(error)
        login = f"{self._places('login')}?next={quote(following, safe='')}"
        if not self._sign_up.is_open:
            return pages.show(
                "Registration is closed",
                pages.paragraph("Ask an administrator of this server for an account."),
                self._providers(following, "register"),
                pages.link_button("Log in", login, quiet=True),
                status=403,
            )
        answer = pages.show(
            f"Create an account on {self._server_name}",
            pages.wrong(sentence),
            pages.form(
                self._places("sign-up"),
                visitor.csrf,
                pages.username_field(self._server_name, username),
                pages.password_field("Password", "password", new=True),
                pages.stage_fields(self._sign_up.stages, self._sign_up.terms_url),
                pages.button("Create account"),
                next=following,
            ),
            self._providers(following, "register"),
            pages.link_button("I have an account", login, quiet=True),
            status=status,
        )
        return self._browsers.keep(visitor, answer)

    def _stage_page(self, visitor: Visitor, following: str, left: StageLeft) -> Response:
        """A stage with a page of its own: it opens beside this one, where the newcomer goes on."""
        path = f"/_matrix/client/v3/auth/{quote(left.stage_type, safe='')}/fallback/web"
        url = f"{self._places.public_baseurl}{path}?session={quote(left.session, safe='')}"
        later = [stage for stage in left.remaining if stage in FORM_STAGES]
        answer = pages.show(
            "One more step",
            pages.paragraph("Complete this step on its own page, then come back here and continue."),
            pages.link_button("Open the page", url, quiet=True),
            pages.form(
                self._places("sign-up"),
                visitor.csrf,
                pages.stage_fields(later, self._sign_up.terms_url),
                pages.button("Continue"),
                next=following,
                session=left.session,
            ),
        )
        return self._browsers.keep(visitor, answer)

    def _providers(self, following: str, action: str) -> str:
        urls = {
            one.provider_id: f"{self._places('sso')}/{quote(one.provider_id, safe='')}"
            f"?action={action}&next={quote(following, safe='')}"
            for one in self._sso.providers
        }
        return pages.provider_buttons(self._sso.providers, urls)
