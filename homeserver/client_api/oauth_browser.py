"""The browser at the other end of the server's pages: its cookie, its CSRF token, its forms, and where it goes next.

One cookie holds a random secret from the first page on. A form counts only with the token made of that secret.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import structlog
from starlette.responses import RedirectResponse, Response

from homeserver.protocol.errors import MatrixError, bad_json, forbidden
from homeserver.services.oauth_provider.browser_sessions import BrowserSession, csrf_token
from homeserver.services.oauth_provider.server_metadata import ACCOUNT_PATH, PATH

if TYPE_CHECKING:
    from homeserver.services.oauth_provider.browser_sessions import BrowserSessions
    from homeserver.services.oauth_provider.server_metadata import Places
    from homeserver.web.request import Request

LARGEST_FORM = 16_384
_LONGEST_NEXT = 3_000  # it has to fit into a cookie
_NEXT_FOR_S = 1_800
_log = structlog.get_logger("homeserver.oauth_provider")


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser. `session` is None as long as nobody is logged in with it."""

    secret: str
    session: BrowserSession | None

    @property
    def csrf(self) -> str:
        return csrf_token(self.secret)


class Browsers:
    """Recognises browsers by their cookie."""

    def __init__(self, places: Places, sessions: BrowserSessions) -> None:
        self._places = places
        self.sessions = sessions
        # Browsers take a cookie with this prefix only from this very host, over https, for all of its paths.
        prefix = "__Host-" if places.is_secure else ""
        self._cookie = f"{prefix}starling_session"
        self._next_cookie = f"{prefix}starling_next"

    async def visitor(self, request: Request) -> Visitor:
        secret = _cookie(request, self._cookie)
        if secret is None or not 20 <= len(secret) <= 100:
            return Visitor(self.sessions.new_secret(), None)
        return Visitor(secret, await self.sessions.find(secret))

    async def begin(self, visitor: Visitor, user_id: str) -> Visitor:
        """Log the browser in, under a new secret."""
        secret = await self.sessions.begin(user_id, visitor.secret)
        return Visitor(secret, await self.sessions.find(secret))

    def keep(self, visitor: Visitor, response: Response) -> Response:
        """The response, with the cookie."""
        lifetime_s = self.sessions.lifetime_ms // 1000 if visitor.session is not None else _NEXT_FOR_S
        self._set(response, self._cookie, visitor.secret, lifetime_s)
        return response

    def leave(self, response: Response) -> Response:
        """The response, without the cookie from now on."""
        self._set(response, self._cookie, "", 0)
        return response

    def redirect(self, path: str, **query: str) -> Response:
        """Go to one of our own pages."""
        url = self._places.public_baseurl + path
        if query:
            url += ("&" if "?" in path else "?") + urlencode(query)
        return leave_for(url)

    def remember_next(self, response: Response, path: str) -> Response:
        """Where to go on when the browser comes back from an identity provider."""
        self._set(response, self._next_cookie, urlencode({"": path})[1:], _NEXT_FOR_S)
        return response

    def find_next(self, request: Request) -> str:
        value = _cookie(request, self._next_cookie) or ""
        return next_path(dict(parse_qsl("next=" + value)).get("next"))

    async def form(self, request: Request, body: bytes, visitor: Visitor) -> dict[str, str]:
        """The form in a body; M_FORBIDDEN unless it comes from a page this browser was shown."""
        form = parse_form(request, body)
        if not hmac.compare_digest(form.get("csrf", "").encode(), visitor.csrf.encode()):
            _log.warning("form without its csrf token", path=request.target.partition("?")[0])
            raise forbidden("This page was open for too long, or it is not ours. Go back, reload it, and try again.")
        return form

    def _set(self, response: Response, name: str, value: str, lifetime_s: int) -> None:
        response.set_cookie(
            name, value, max_age=lifetime_s, path="/", secure=self._places.is_secure, httponly=True, samesite="lax"
        )


def leave_for(url: str) -> Response:
    """Send the browser elsewhere, with a GET, and without a word of where it was."""
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(url, 303, headers=headers)


def parse_form(request: Request, body: bytes) -> dict[str, str]:
    """The fields of an `application/x-www-form-urlencoded` body; M_BAD_JSON if it is none or repeats a field."""
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise bad_json("The request body must be application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise bad_json("The request body is malformed.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise bad_json("A parameter is repeated.")
    check_text(form)
    return form


def check_text(fields: Mapping[str, str]) -> None:
    """M_BAD_JSON for what no database takes for text."""
    for value in fields.values():
        if "\x00" in value or any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
            raise bad_json("A parameter holds characters that are not text.")


def next_path(text: str | None) -> str:
    """Where to go on: one of our own pages, by default the account's."""
    ours = (f"{PATH}/", ACCOUNT_PATH)
    if text is None or len(text) > _LONGEST_NEXT or not text.startswith(ours):
        return ACCOUNT_PATH
    if any(ord(letter) < 33 or ord(letter) > 126 or letter == "\\" for letter in text):
        return ACCOUNT_PATH
    return text


def languages_of(request: Request) -> list[str]:
    """The languages a browser prefers, best first."""
    entries = (request.header("accept-language") or "").split(",")[:20]
    return [tag for entry in entries if (tag := entry.partition(";")[0].strip())]


def as_page_error(error: MatrixError) -> tuple[str, int]:
    """What a page says of an error, and its status."""
    if error.status == 429:
        return "That was too often. Wait a little, and try again.", 429
    return error.sentence, error.status if 400 <= error.status < 600 else 400


def _cookie(request: Request, name: str) -> str | None:
    for part in (request.header("cookie") or "").split(";"):
        key, separator, value = part.strip().partition("=")
        if separator and key == name:
            return value
    return None
