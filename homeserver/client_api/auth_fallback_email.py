"""The page of `m.login.email.identity`: asks for an address, sends a message to it, and goes on once it is confirmed.

Spec: client-server-api #fallback, #email-based-identity--homeserver
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from homeserver.services.third_party_ids.token_requests import TokenRequest

if TYPE_CHECKING:
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.third_party_ids.token_requests import TokenRequests

EMAIL = "m.login.email.identity"
FIRST_FORM = (
    '<p><label>E-mail address: <input name="email" type="email" autocomplete="email" required autofocus></label></p>'
)


@dataclass(frozen=True, slots=True)
class EmailPage:
    """The steps of the page; what they need from one to the next travels in the form."""

    tokens: TokenRequests
    randomness: Randomness

    async def send(self, address: str, client_address: str) -> str:
        """Send the message; the next form. The errors of `request_email`."""
        secret = self.randomness.token(18)
        answer = await self.tokens.request_email(TokenRequest("register", secret, 1, None, client_address), address)
        return second_form({"email": address, "sid": str(answer["sid"]), "client_secret": secret})


def auth_of(given: Mapping[str, str]) -> dict[str, Any]:
    """What the stage checks, from the second form."""
    creds = {"sid": given.get("sid", ""), "client_secret": given.get("client_secret", "")}
    return {"threepid_creds": creds}


def second_form(given: Mapping[str, str]) -> str:
    """Shown until the link in the message has been followed."""
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(given.get(name, ""))}">'
        for name in ("email", "sid", "client_secret")
    )
    address = escape(given.get("email", ""))
    return f"<p>A message is on its way to {address}. Open the link in it, then come back and continue.</p>{hidden}"
