"""Where the link in a message leads: a page that asks for one click, and the endpoint that takes codes from clients.

Looking at the page confirms nothing: mail scanners look at every link.

Spec: identity-service-api #post_matrixidentityv2validateemailsubmittoken
"""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl

import msgspec
from starlette.responses import JSONResponse, RedirectResponse, Response

from homeserver.plugin_api.pages import error_page, page
from homeserver.protocol.errors import MatrixError
from homeserver.services.third_party_ids.validation import LINK_PATH, Validation, ValidationSession
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.runner import check_body, parse_json

_QUESTIONS = {
    "register": ("Confirm your address", "Open an account with {address}?", "Confirm"),
    "add": ("Confirm your address", "Add {address} to the account you asked for it from?", "Confirm"),
    "password": ("Reset your password", "Allow a new password for the account of {address}?", "Allow it"),
}
_DONE = "<p>You can close this page and go on in your app.</p>"
_EXPIRED = "This link does not work any more. Go back to your app and ask for a new message."


class _SubmitBody(msgspec.Struct):
    sid: str
    client_secret: str
    token: str


class ValidationPagesApi:
    def __init__(self, validation: Validation, app_name: str) -> None:
        self._validation = validation
        self._app_name = app_name

    @endpoint("GET", LINK_PATH, auth=Auth.NONE, limit="login_address")
    async def ask(self, request: Request) -> Response:
        sid, token = request.find_query("sid") or "", request.find_query("token") or ""
        session = await self._validation.find_open(sid, token)
        if session is None:
            return error_page(_EXPIRED, 400)
        if session.validated_ms is not None:
            return page("Done already", _DONE)
        return self._question(session, sid, token)

    @endpoint("POST", LINK_PATH, auth=Auth.NONE, limit="login_address", body=bytes, max_body_bytes=16_384)
    async def submit(self, request: Request, body: bytes) -> Response:
        """From the page as a form; from clients as JSON."""
        kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            given = check_body(parse_json(body), _SubmitBody)
            await self._validation.submit(given.sid, given.token, given.client_secret)
            return JSONResponse({"success": True})
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if "client_secret" in form:
            # Clients from before bodies were JSON.
            await self._validation.submit(form.get("sid", ""), form.get("token", ""), form["client_secret"])
            return JSONResponse({"success": True})
        return await self._confirm(form.get("sid", ""), form.get("token", ""))

    async def _confirm(self, sid: str, token: str) -> Response:
        try:
            session = await self._validation.submit(sid, token, None)
        except MatrixError:
            return error_page(_EXPIRED, 400)
        if session.next_link is not None:
            return RedirectResponse(session.next_link, 303, headers={"Referrer-Policy": "no-referrer"})
        return page("Thank you", _DONE)

    def _question(self, session: ValidationSession, sid: str, token: str) -> Response:
        title, question, button = _QUESTIONS[session.purpose]
        hidden = "".join(
            f'<input type="hidden" name="{name}" value="{escape(value)}">'
            for name, value in (("sid", sid), ("token", token))
        )
        return page(
            title,
            f"<p>{escape(question.format(address=session.address))}</p>"
            f'<form method="post" action="{LINK_PATH}">{hidden}<button>{button}</button></form>'
            f'<p class="dim">{escape(self._app_name)}. If you asked for nothing, close this page.</p>',
        )
