"""The pages on which people let an app in: after its authorization request, or with the code a device shows.

Spec: client-server-api #authorisation-code-flow, #device-authorisation-flow
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import Response

from homeserver.client_api import oauth_pages as pages
from homeserver.client_api.oauth_browser import (
    LARGEST_FORM,
    Browsers,
    Visitor,
    as_page_error,
    check_text,
    languages_of,
    leave_for,
)
from homeserver.client_api.oauth_login import LOGIN, SIGN_UP
from homeserver.plugin_api.pages import error_page
from homeserver.protocol.errors import MatrixError, forbidden
from homeserver.services.oauth_provider.authorizations import RefusedAuthorization
from homeserver.services.oauth_provider.server_metadata import PATH
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

if TYPE_CHECKING:
    from homeserver.services.oauth_provider.authorizations import AuthorizationRequest, Authorizations
    from homeserver.services.oauth_provider.browser_sessions import BrowserSession
    from homeserver.services.oauth_provider.clients import Client
    from homeserver.services.oauth_provider.device_grants import DeviceGrants
    from homeserver.services.oauth_provider.server_metadata import Places

AUTHORIZE, LINK = f"{PATH}/authorize", f"{PATH}/link"
_LONGEST_QUERY = 2_800  # it has to fit into a cookie while its user is at an identity provider
_TO_AN_APP = (
    "Only continue if you have just started this yourself and you trust the app: "
    "it will be able to read and send messages as you."
)


class OAuthAuthorizeApi:
    """`device_grants` None: there is no page for codes."""

    def __init__(
        self,
        places: Places,
        browsers: Browsers,
        authorizations: Authorizations,
        device_grants: DeviceGrants | None,
    ) -> None:
        self._places = places
        self._browsers = browsers
        self._authorizations = authorizations
        self._device_grants = device_grants

    @endpoint("GET", AUTHORIZE, auth=Auth.NONE, limit="oauth_page")
    async def show_authorization(self, request: Request) -> Response:
        visitor = await self._browsers.visitor(request)
        pairs = request.query_items
        try:
            check_text(dict(pairs))
            wanted = await self._authorizations.check(pairs)
        except RefusedAuthorization as refused:
            return leave_for(refused.url)
        except MatrixError as error:
            return error_page(*as_page_error(error))
        # What the prompt asks for is done once; the request goes on without it.
        rest = urlencode([(name, value) for name, value in pairs if name != "prompt"])
        following = f"{AUTHORIZE}?{rest}"
        if len(rest) > _LONGEST_QUERY:
            return error_page("The app's request is too long.")
        if "create" in wanted.prompts:
            return self._browsers.keep(visitor, self._browsers.redirect(SIGN_UP, next=following))
        if "login" in wanted.prompts:
            return self._browsers.keep(visitor, self._browsers.redirect(LOGIN, next=following, again="1"))
        if visitor.session is None:
            return self._browsers.keep(visitor, self._browsers.redirect(LOGIN, next=following))
        return self._browsers.keep(visitor, self._consent(request, visitor, visitor.session, wanted, rest, following))

    @endpoint("POST", AUTHORIZE, auth=Auth.NONE, limit="oauth_page", body=bytes, max_body_bytes=LARGEST_FORM)
    async def decide_authorization(self, request: Request, body: bytes) -> Response:
        visitor = await self._browsers.visitor(request)
        try:
            form = await self._browsers.form(request, body, visitor)
            if visitor.session is None:
                raise forbidden("You are not logged in any more. Go back to your app and try again.")
            pairs = parse_qsl(form.get("request", ""), keep_blank_values=True)
            check_text(dict(pairs))
            wanted = await self._authorizations.check(pairs)
        except RefusedAuthorization as refused:
            return leave_for(refused.url)
        except MatrixError as error:
            return error_page(*as_page_error(error))
        user_id = visitor.session.user_id
        if form.get("decision") != "allow":
            return leave_for(self._authorizations.deny(wanted, user_id))
        return leave_for(await self._authorizations.grant(wanted, user_id))

    @endpoint("GET", LINK, auth=Auth.NONE, limit="oauth_page")
    async def show_link(self, request: Request) -> Response:
        """Enter the code a device shows, or look at what it stands for."""
        device_grants = self._device_grants
        if device_grants is None:
            return error_page("This server has no login with a code.", 404)
        visitor = await self._browsers.visitor(request)
        user_code = request.find_query("user_code")
        if visitor.session is None:
            query = "" if user_code is None else "?" + urlencode({"user_code": user_code[:50]})
            return self._browsers.keep(visitor, self._browsers.redirect(LOGIN, next=LINK + query))
        if user_code is None:
            return self._browsers.keep(visitor, self._code_page(None))
        try:
            device = await device_grants.find(user_code, visitor.session.user_id)
        except MatrixError as error:
            return self._browsers.keep(visitor, self._code_page(error))
        answer = pages.show(
            "Log in a new device?",
            _about(device.client, request),
            pages.facts(
                [
                    ("Your account", visitor.session.user_id),
                    ("Code", user_code.upper()),
                    ("New device", device.device_id),
                ]
            ),
            pages.paragraph("Check that the new device shows this very code."),
            pages.paragraph(_TO_AN_APP, dim=True),
            self._decision(visitor, "link", user_code=user_code),
            self._other_account(visitor, f"{LINK}?{urlencode({'user_code': user_code})}"),
        )
        return self._browsers.keep(visitor, answer)

    @endpoint("POST", LINK, auth=Auth.NONE, limit="oauth_page", body=bytes, max_body_bytes=LARGEST_FORM)
    async def decide_link(self, request: Request, body: bytes) -> Response:
        visitor = await self._browsers.visitor(request)
        try:
            form = await self._browsers.form(request, body, visitor)
            if visitor.session is None or self._device_grants is None:
                raise forbidden("You are not logged in any more. Start again on your device.")
            approved = form.get("decision") == "allow"
            await self._device_grants.judge(form.get("user_code", ""), visitor.session.user_id, approved=approved)
        except MatrixError as error:
            return error_page(*as_page_error(error))
        if approved:
            return pages.show("Done", pages.paragraph("Your new device is being logged in. You can close this page."))
        return pages.show("Refused", pages.paragraph("The device was not logged in. You can close this page."))

    def _consent(
        self,
        request: Request,
        visitor: Visitor,
        session: BrowserSession,
        wanted: AuthorizationRequest,
        query: str,
        following: str,
    ) -> Response:
        target = urlsplit(wanted.reply.redirect_uri)
        web = target.scheme in ("http", "https")
        leads_to = f"{target.scheme}://{target.netloc}" if web else f"{target.scheme}:"
        return pages.show(
            f"Continue to {wanted.client.name(languages_of(request))}?",
            _about(wanted.client, request),
            pages.facts(
                [
                    ("Your account", session.user_id),
                    ("New device", wanted.scope.device_id),
                    ("You will be sent to", leads_to),
                ]
            ),
            pages.paragraph(_TO_AN_APP, dim=True),
            self._decision(visitor, "authorize", request=query),
            self._other_account(visitor, following),
            leads_to=leads_to,
        )

    def _decision(self, visitor: Visitor, page: str, **hidden: str) -> str:
        return pages.form(
            self._places(page),
            visitor.csrf,
            pages.button("Continue", name="decision", value="allow"),
            pages.button("Cancel", name="decision", value="deny", kind="quiet"),
            **hidden,
        )

    def _other_account(self, visitor: Visitor, following: str) -> str:
        other = pages.button("Use another account", kind="quiet")
        return pages.form(self._places("logout"), visitor.csrf, other, next=following)

    def _code_page(self, error: MatrixError | None) -> Response:
        sentence, status = (None, 200) if error is None else as_page_error(error)
        field = pages.text_field(
            "Code", "user_code", more='required autofocus autocomplete="off" class="code" maxlength="20"'
        )
        # It only looks: nothing happens before the next page, so that a plain GET will do.
        look = f'<form method="get" action="{self._places("link")}">{field}{pages.button("Continue")}</form>'
        explained = pages.paragraph("Enter the code that your new device shows.")
        return pages.show("Log in a new device", pages.wrong(sentence), explained, look, status=status)


def _about(client: Client, request: Request) -> str:
    """What is known of a client. Its name is its own word; its host is what it controls."""
    languages = languages_of(request)
    links = [
        (text, urlsplit(url).hostname or "", url)
        for text, name in (("Terms of service", "tos_uri"), ("Privacy policy", "policy_uri"))
        if (url := client.text(name, languages)) is not None
    ]
    about = f"{client.name(languages)}, an app of {client.host}, wants to use your account."
    return pages.paragraph(about) + (pages.links(links) if links else "")
