"""What a plugin for single sign-on deals with: identity providers, and the way back to the client.

Spec: client-server-api #sso-client-loginauthentication
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from starlette.responses import Response

from homeserver.protocol.errors import invalid_param
from homeserver.web.request import Request

_LONGEST_URL = 2_000  # it has to fit into a cookie
_DANGEROUS_SCHEMES = frozenset({"javascript", "data", "vbscript", "file", "blob", "about"})


class SsoProvider(Protocol):
    """One identity provider people may log in with."""

    @property
    def provider_id(self) -> str:
        """The `id` in `identity_providers`: letters, digits and `-._~`."""

    @property
    def name(self) -> str: ...

    @property
    def icon(self) -> str | None:
        """An mxc: URI, or None."""

    @property
    def brand(self) -> str | None:
        """A brand clients know, e.g. `github`, or None."""

    async def begin(self, request: Request, redirect_url: str, action: str | None) -> Response:
        """Send the browser to the identity provider. `redirect_url` is checked already, and where to end up.

        `action` is "login", "register" or None.
        """


def check_redirect_url(url: str) -> str:
    """The client's `redirectUrl` if a browser may be sent there; M_INVALID_PARAM if it is no absolute URL or a script.

    Native applications have schemes of their own, so that any other scheme will do.
    """
    if len(url) > _LONGEST_URL:
        raise invalid_param("`redirectUrl` is too long.")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise invalid_param("`redirectUrl` is not a URL to go back to.") from None
    if not parts.scheme or parts.scheme.lower() in _DANGEROUS_SCHEMES or any(ord(letter) < 33 for letter in url):
        raise invalid_param("`redirectUrl` is not a URL to go back to.")
    if parts.scheme in ("http", "https") and not parts.netloc:
        raise invalid_param("`redirectUrl` has no host.")
    return url


def with_login_token(url: str, token: str) -> str:
    """The URL with `loginToken` added to its query; one that is there already is replaced."""
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "loginToken"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("loginToken", token)])))
