"""A browser and a client of the OAuth 2.0 API, for tests against a server in process."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from homeserver.testing import Answer, AsgiClient

BASEURL = "https://matrix.example.org"
OAUTH = "/_starling/client/oauth2"
ACCOUNT = "/_starling/client/account"
API, DEVICE = "urn:matrix:client:api:*", "urn:matrix:client:device:"
MSC_API, MSC_DEVICE = "urn:matrix:org.matrix.msc2967.client:api:*", "urn:matrix:org.matrix.msc2967.client:device:"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PASSWORD = "correct horse battery"
FORM = "application/x-www-form-urlencoded"

# What Element X registers with, as to its shape.
METADATA: dict[str, Any] = {
    "application_type": "native",
    "client_name": "Element X",
    "client_name#de": "Element X auf Deutsch",
    "client_uri": "https://element.io/",
    "redirect_uris": ["io.element:/callback"],
    "token_endpoint_auth_method": "none",
    "response_types": ["code"],
    "grant_types": ["authorization_code", "refresh_token", DEVICE_GRANT],
    "tos_uri": "https://element.io/terms",
    "policy_uri": "https://element.io/privacy",
}
CALLBACK = "io.element:/callback"
WEB_METADATA: dict[str, Any] = {
    "client_name": "Element Web",
    "client_uri": "https://element.io/",
    "redirect_uris": ["https://app.element.io/?no_universal_links=true"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}


class Browser:
    """Keeps cookies, follows redirects as long as they stay on this server, fills in forms."""

    def __init__(self, client: AsgiClient, base: str = BASEURL) -> None:
        self.client = client
        self.base = base
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []
        self.page: Answer = Answer(0, {}, b"")

    @property
    def text(self) -> str:
        return unescape(self.page.body.decode())

    async def open(self, url: str, **headers: str) -> Answer:
        """The page at the end of all redirects, or the redirect that leads away."""
        return await self._follow(await self._request("GET", url, None, headers))

    async def submit(self, number: int = 0, **fields: str) -> Answer:
        """Send a form of the page, with what its hidden fields hold."""
        url, hidden = self.forms()[number]
        return await self.post(url, {**hidden, **fields})

    async def post(self, url: str, fields: dict[str, str]) -> Answer:
        body = urlencode(fields).encode()
        return await self._follow(await self._request("POST", url, body, {"content-type": FORM}))

    def forms(self) -> list[tuple[str, dict[str, str]]]:
        """URL and hidden fields of each form of the page that is sent with POST."""
        found = []
        for action, inside in re.findall(r'<form method="post" action="([^"]+)">(.*?)</form>', self.page.body.decode()):
            hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', inside)
            found.append((unescape(action), {unescape(name): unescape(value) for name, value in hidden}))
        return found

    def links(self) -> list[str]:
        return [unescape(url) for url in re.findall(r'href="([^"]+)"', self.page.body.decode())]

    async def _follow(self, answer: Answer) -> Answer:
        while answer.status in (302, 303) and answer.headers["location"].startswith(self.base):
            answer = await self._request("GET", answer.headers["location"], None, {})
        self.page = answer
        return answer

    async def _request(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        sent = dict(headers)
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        path = url.removeprefix(self.base)
        assert path.startswith("/"), url
        answer = await self.client.request(method, path, body=body, headers=sent)
        for cookie in re.split(r", (?=(?:__Host-)?starling_)", answer.headers.get("set-cookie", "")):
            if not cookie:
                continue
            self.set_cookies.append(cookie)
            name, _, rest = cookie.partition("=")
            if "Max-Age=0" in cookie:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = rest.partition(";")[0].strip('"')
        return answer


@dataclass
class App:
    """A client: it registers, asks for access, and holds tokens. Methods give answers, whatever they are."""

    client: AsgiClient
    client_id: str = ""
    redirect_uri: str = CALLBACK
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    tokens: dict[str, Any] = field(default_factory=dict)

    async def register(self, metadata: dict[str, Any] | None = None) -> App:
        made = await self.client.post(f"{OAUTH}/register", metadata or METADATA)
        assert made.status == 201, made.body
        self.client_id = made.json["client_id"]
        return self

    def authorization_url(self, device_id: str = "ELEMENTX01", **changes: str | None) -> str:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": f"{API} {DEVICE}{device_id}",
            "state": "a state",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **changes,
        }
        return f"{OAUTH}/authorize?{urlencode({name: value for name, value in query.items() if value is not None})}"

    async def form(self, endpoint: str, **fields: str | None) -> Answer:
        body = urlencode({name: value for name, value in fields.items() if value is not None}).encode()
        return await self.client.request("POST", f"{OAUTH}/{endpoint}", body=body, headers={"content-type": FORM})

    async def redeem(self, code: str, /, **changes: str | None) -> Answer:
        fields: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            "code_verifier": self.verifier,
            **changes,
        }
        return self._kept(await self.form("token", **fields))

    async def refresh(self, token: str | None = None, **changes: str | None) -> Answer:
        fields: dict[str, str | None] = {
            "grant_type": "refresh_token",
            "refresh_token": token or self.tokens["refresh_token"],
            "client_id": self.client_id,
            **changes,
        }
        return self._kept(await self.form("token", **fields))

    async def poll(self, device_code: str, **changes: str | None) -> Answer:
        fields: dict[str, str | None] = {
            "grant_type": DEVICE_GRANT,
            "device_code": device_code,
            "client_id": self.client_id,
            **changes,
        }
        return self._kept(await self.form("token", **fields))

    async def whoami(self) -> Answer:
        return await self.client.get("/_matrix/client/v3/account/whoami", token=self.tokens["access_token"])

    def _kept(self, answer: Answer) -> Answer:
        if answer.status == 200:
            self.tokens = answer.json
        return answer


def callback_of(answer: Answer) -> dict[str, str]:
    """What the client is told when the browser comes back to it."""
    assert answer.status == 303, (answer.status, answer.body)
    parts = urlsplit(answer.headers["location"])
    return dict(parse_qsl(parts.query or parts.fragment, keep_blank_values=True))
