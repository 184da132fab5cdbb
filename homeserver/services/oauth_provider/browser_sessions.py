"""Who is logged in to the server's own pages, and what they have approved there.

The browser holds a random secret, of which only the hash is stored. CSRF tokens are made of the same secret.

Spec: client-server-api #oauth-20-account-management
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

import structlog

from homeserver.services.accounts.tokens import hash_token
from homeserver.storage import browser_sessions, oauth_grants
from homeserver.storage.browser_sessions import BrowserSession

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.storage.database import Database
    from homeserver.storage.oauth_grants import Grant
    from homeserver.web.requester import Requester

__all__ = ["CROSS_SIGNING_RESET", "Approvals", "BrowserSession", "BrowserSessions", "csrf_token"]

CROSS_SIGNING_RESET = "org.matrix.cross_signing_reset"
_RECENTLY_MS = 10 * 60_000
_APPROVED_FOR_MS = 10 * 60_000
_log = structlog.get_logger("homeserver.oauth_provider")


def csrf_token(secret: str) -> str:
    """What the forms of a browser with this secret carry. It does not give the secret away."""
    digest = hmac.digest(secret.encode(), b"csrf", hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


class BrowserSessions:
    """Logs browsers in and out."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness, lifetime_ms: int) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self.lifetime_ms = lifetime_ms

    def new_secret(self) -> str:
        """A secret for a browser nobody is logged in with yet."""
        return self._randomness.token()

    async def begin(self, user_id: str, old_secret: str) -> str:
        """The new secret of a browser whose user has just shown who they are; the old one is worth nothing any more."""
        await self._database.write(browser_sessions.delete_session, hash_token(old_secret))
        secret, now_ms = self.new_secret(), self._clock.now_ms()
        session = BrowserSession(user_id, now_ms, now_ms + self.lifetime_ms)
        await self._database.write(browser_sessions.create_session, hash_token(secret), session)
        return secret

    async def find(self, secret: str) -> BrowserSession | None:
        session = await self._database.read(browser_sessions.find_session, hash_token(secret))
        return None if session is None or session.expires_ms <= self._clock.now_ms() else session

    def is_recent(self, session: BrowserSession) -> bool:
        """Whether its user has shown lately who they are, as what cannot be undone asks for."""
        return self._clock.now_ms() - session.proved_ms < _RECENTLY_MS

    async def end(self, secret: str) -> None:
        await self._database.write(browser_sessions.delete_session, hash_token(secret))


class Approvals:
    """What people have approved on the server's pages, for their clients to do; each approval serves once.

    `url` is the page where the reset of cross-signing is approved.
    """

    def __init__(self, database: Database, clock: Clock, url: str) -> None:
        self._database = database
        self._clock = clock
        self.url = url

    async def find_grant(self, requester: Requester) -> Grant | None:
        """What makes the requester's session one of the OAuth 2.0 API; None for a session of the legacy API."""
        if requester.device_id is None or requester.appservice_id is not None:
            return None
        return await self._database.read(oauth_grants.find_grant, requester.user_id, requester.device_id)

    async def approve(self, user_id: str) -> None:
        """Let the user's client reset cross-signing in the next minutes."""
        expires_ms = self._clock.now_ms() + _APPROVED_FOR_MS
        await self._database.write(browser_sessions.approve, user_id, CROSS_SIGNING_RESET, expires_ms)
        _log.info("cross-signing reset approved", user_id=user_id)

    async def is_approved(self, user_id: str) -> bool:
        now_ms = self._clock.now_ms()
        return await self._database.read(browser_sessions.is_approved, user_id, CROSS_SIGNING_RESET, now_ms)

    async def use(self, user_id: str) -> None:
        """The reset has been done."""
        await self._database.write(browser_sessions.use_approval, user_id, CROSS_SIGNING_RESET)
