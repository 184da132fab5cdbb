"""Web pages on which people complete an auth stage that their client cannot show.

Spec: client-server-api #fallback
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.responses import HTMLResponse

from homeserver.client_api.auth_fallback_email import EMAIL, FIRST_FORM, EmailPage, auth_of, second_form
from homeserver.client_api.paths import v3
from homeserver.protocol.errors import MatrixError, not_found
from homeserver.services.accounts.auth_stages import DUMMY, REGISTRATION_TOKEN, TERMS
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

if TYPE_CHECKING:
    from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth

_PATH = v3("/auth/{authType}/fallback/web")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font: 1rem/1.5 sans-serif; max-width: 30rem; margin: 3rem auto; padding: 0 1rem }}
input, button {{ font: inherit; padding: .4rem .8rem }}</style></head>
<body><h1>{title}</h1>{content}</body></html>
"""
_DONE = """<p>You can close this window and go on in your app.</p>
<script>
if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}
</script>"""


def fallback_forms(terms_url: str | None) -> dict[str, str]:
    """The content of the forms of the stages that come along, by stage type."""
    forms = {
        DUMMY: "<p>Please confirm that you want to go on.</p>",
        REGISTRATION_TOKEN: '<p><label>Registration token: <input name="token" required autofocus></label></p>',
    }
    if terms_url is not None:
        link = f'<a href="{escape(terms_url)}" target="_blank" rel="noopener">terms of service</a>'
        forms[TERMS] = f"<p>To go on, please read and accept the {link}.</p>"
    return forms


class AuthFallbackApi:
    """`forms`: the inside of an HTML form for each stage type; its inputs are what the stage checks."""

    def __init__(
        self, interactive_auth: UserInteractiveAuth, forms: Mapping[str, str], email: EmailPage | None = None
    ) -> None:
        self._interactive_auth = interactive_auth
        self._forms = dict(forms)
        self._email = email
        if email is not None:
            self._forms[EMAIL] = FIRST_FORM

    @endpoint("GET", _PATH, auth=Auth.NONE, limit="login_address")
    async def show(self, request: Request) -> HTMLResponse:
        return self._form(request, request.query_str("session"))

    @endpoint("POST", _PATH, auth=Auth.NONE, limit="login_address", body=bytes, max_body_bytes=65_536)
    async def complete(self, request: Request, body: bytes) -> HTMLResponse:
        given = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        session, stage_type = given.get("session", ""), request.path["authType"]
        if stage_type not in self._forms:
            raise not_found("This stage has no page.")
        form: str | None = None
        auth: Mapping[str, Any] = given
        try:
            if stage_type == EMAIL and self._email is not None:
                if "sid" not in given:
                    form = await self._email.send(given.get("email", ""), request.client_address)
                    return self._form(request, session, form=form)
                form, auth = second_form(given), auth_of(given)
            await self._interactive_auth.complete_outside(session, stage_type, auth, request.client_address)
        except MatrixError as error:
            return self._form(request, session, error, form)
        return HTMLResponse(_PAGE.format(title="Thank you", content=_DONE), headers=_HEADERS)

    def _form(
        self, request: Request, session: str, error: MatrixError | None = None, form: str | None = None
    ) -> HTMLResponse:
        form = form or self._forms.get(request.path["authType"])
        if form is None:
            raise not_found("This stage has no page.")
        complaint = "" if error is None else f'<p role="alert">{escape(error.sentence)}</p>'
        hidden = f'<input type="hidden" name="session" value="{escape(session)}">'
        content = f'{complaint}<form method="post">{form}{hidden}<button>Continue</button></form>'
        status = 200 if error is None else error.status
        return HTMLResponse(_PAGE.format(title="One more step", content=content), status, headers=_HEADERS)
