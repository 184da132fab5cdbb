"""Identity providers on loopback, and a browser: OpenID Connect that checks what it is sent, and the ways of GitHub."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey
from plugin_kit import Handler

from homeserver.testing import Answer, AsgiClient

BASEURL = "https://matrix.example.org"
CLIENT_ID, CLIENT_SECRET = "starling", "s3cret"
KEY = RSAKey.generate_key(2048, {"kid": "one"})


@dataclass
class OpenIdProvider:
    """Issues codes to whoever asks, as the person `claims` describes; `changes` spoils the next ID token."""

    url: str = ""
    key: RSAKey = field(default_factory=lambda: KEY)
    claims: dict[str, Any] = field(
        default_factory=lambda: {"sub": "subject-1", "preferred_username": "Alice.Liddell", "name": "Alice"}
    )
    changes: dict[str, Any] = field(default_factory=dict)
    userinfo_changes: dict[str, Any] = field(default_factory=dict)
    signed_by: RSAKey | None = None
    refuse: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)
    pending: dict[str, dict[str, str]] = field(default_factory=dict)

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            ("GET", "/.well-known/openid-configuration"): self.discovery,
            ("GET", "/authorize"): self.authorize,
            ("POST", "/token"): self.token,
            ("GET", "/keys"): self.keys,
            ("GET", "/userinfo"): self.userinfo,
        }

    async def discovery(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        self.asked.append(asked)
        assert asked["client_id"] == CLIENT_ID
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        back = {"state": asked["state"], "iss": self.url}
        if self.refuse:
            back["error"] = "access_denied"
        else:
            back["code"] = f"code-{len(self.asked)}"
            self.pending[back["code"]] = asked
        raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode(back)}")

    async def token(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        asked = self.pending.pop(form.get("code", ""), None)
        if request.headers.get("Authorization") != f"Basic {expected}":
            return web.json_response({"error": "invalid_client"}, status=401)
        if asked is None or form["redirect_uri"] != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if challenge.decode() != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        claims |= {**self.claims, **self.changes}
        key = self.signed_by or self.key
        id_token = jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)
        return web.json_response({"access_token": "access", "token_type": "Bearer", "id_token": id_token})

    async def keys(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def userinfo(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer access"
        return web.json_response({**self.claims, **self.userinfo_changes})


@dataclass
class GitHub:
    """GitHub's dialect: no discovery, no ID token, errors with status 200, numbers for subjects."""

    url: str = ""
    user: dict[str, Any] = field(default_factory=lambda: {"id": 583231, "login": "Octo-Cat", "name": None})
    error: str | None = None

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            ("GET", "/login/oauth/authorize"): self.authorize,
            ("POST", "/login/oauth/access_token"): self.token,
            ("GET", "/user"): self.whoami,
        }

    async def authorize(self, request: web.Request) -> web.Response:
        assert "nonce" not in request.query
        assert request.query["scope"] == "read:user"
        raise web.HTTPFound(f"{request.query['redirect_uri']}?code=c&state={request.query['state']}")

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert "Authorization" not in request.headers
        assert (form["client_id"], form["client_secret"]) == (CLIENT_ID, CLIENT_SECRET)
        if request.headers["Accept"] != "application/json":
            return web.Response(text="access_token=gho&token_type=bearer")
        if self.error is not None:
            return web.json_response({"error": self.error})
        return web.json_response({"access_token": "gho", "token_type": "bearer", "scope": "read:user"})

    async def whoami(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer gho"
        return web.json_response(self.user)


class Browser:
    """Follows redirects between the homeserver, in process, and providers on loopback; keeps cookies by path."""

    def __init__(self, client: AsgiClient) -> None:
        self._client = client
        self.cookies: dict[str, tuple[str, str]] = {}
        self.set_cookies: list[str] = []

    async def open(self, url: str) -> Answer:
        """The page at the end of all redirects that stay with us and the providers."""
        while True:
            answer = await self._get(url)
            location = answer.headers.get("location", "")
            if answer.status != 302 or not location.startswith((BASEURL, "http://127.0.0.1")):
                return answer
            url = location

    async def submit(self, page: Answer, **form: str) -> Answer:
        """Send the form of a page."""
        (action,) = re.findall(r'<form method="post" action="([^"]+)"', page.body.decode())
        path = unescape(action).removeprefix(BASEURL)
        headers = {"content-type": "application/x-www-form-urlencoded", **self._cookie_header(path)}
        return self._keep(await self._client.request("POST", path, body=urlencode(form).encode(), headers=headers))

    async def _get(self, url: str) -> Answer:
        if url.startswith((BASEURL, "/")):
            path = url.removeprefix(BASEURL)
            return self._keep(await self._client.get(path, headers=self._cookie_header(path)))
        async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, await response.read())

    def _cookie_header(self, path: str) -> dict[str, str]:
        sent = [f"{name}={value}" for name, (value, scope) in self.cookies.items() if path.startswith(scope)]
        return {"cookie": "; ".join(sent)} if sent else {}

    def _keep(self, answer: Answer) -> Answer:
        # Answers join repeated headers with ", ": a cookie begins where a name follows.
        for cookie in re.split(r", (?=starling_)", answer.headers.get("set-cookie", "")):
            if not cookie:
                continue
            self.set_cookies.append(cookie)
            name, _, rest = cookie.partition("=")
            value = rest.partition(";")[0]
            (scope,) = re.findall(r"Path=([^;]+)", cookie)
            if "Max-Age=0" in cookie:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = (value, scope)
        return answer


def login_token_of(answer: Answer) -> tuple[str, str]:
    """Where an answer leads the client, without the login token, and the token."""
    target = answer.headers.get("location")
    if target is None:
        (target,) = re.findall(r'<a class="button" href="([^"]+)"', answer.body.decode())
    parts = urlsplit(unescape(target))
    query = parse_qsl(parts.query)
    (token,) = [value for name, value in query if name == "loginToken"]
    rest = urlencode([(name, value) for name, value in query if name != "loginToken"])
    return parts._replace(query=rest).geturl(), token
