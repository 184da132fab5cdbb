"""Confirming e-mail addresses and telephone numbers: sessions with a link and a code that only their owner sees.

A session is for one purpose: what confirms an address for a new account does not reset a password.

Spec: client-server-api #post_matrixclientv3registeremailrequesttoken
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from homeserver.protocol.errors import MatrixError, invalid_param
from homeserver.protocol.third_party_ids import is_opaque_text
from homeserver.storage import validation_sessions as rows
from homeserver.storage.validation_sessions import ValidationSession

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.storage.database import Database, Transaction
    from homeserver_config.sections.email import EmailSettings

__all__ = ["LINK_PATH", "PlannedSession", "Validation", "ValidationSession", "lifetime_in_minutes"]

LINK_PATH = "/_starling/client/validate"
_DAY_MS = 86_400_000
_MOST_WRONG_GUESSES = 10
# Neither O and 0 nor I, L and 1: people read these off a screen.
_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
_CODE_LENGTH = 8
_LONGEST_LINK = 2_048


class Validation:
    """The sessions. `public_baseurl` is where links lead."""

    def __init__(
        self,
        settings: EmailSettings,
        public_baseurl: str,
        database: Database,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._settings = settings
        self._public_baseurl = public_baseurl
        self._database = database
        self._clock = clock
        self._randomness = randomness

    @property
    def submit_url(self) -> str:
        """Where clients submit codes."""
        return self._public_baseurl + LINK_PATH

    def check_request(self, client_secret: str, next_link: str | None) -> None:
        """M_INVALID_PARAM for a secret that cannot be one, and a link that nobody is to be sent on to."""
        if not is_opaque_text(client_secret):
            raise invalid_param("`client_secret` may hold only 0-9, a-z, A-Z and . = _ -, and 255 of them.")
        if next_link is None:
            return
        parts = urlsplit(next_link)
        allowed = self._settings.next_link_hosts
        if parts.scheme not in ("http", "https") or not parts.hostname or len(next_link) > _LONGEST_LINK:
            raise invalid_param("`next_link` must be an http(s) URL.")
        if any(character.isspace() or ord(character) < 32 for character in next_link):
            raise invalid_param("`next_link` must be an http(s) URL.")
        if allowed and not any(pattern.matches(parts.hostname) for pattern in allowed):
            raise invalid_param("This server sends nobody on to the host of `next_link`.")

    async def find_same(self, purpose: str, medium: str, address: str, secret: str) -> ValidationSession | None:
        """The session that the same client has begun for the same address, unless it has expired."""
        session = await self._database.read(rows.find_same, purpose, medium, address, _hash(secret))
        return None if session is None or session.expires_ms <= self._clock.now_ms() else session

    def plan(
        self,
        purpose: str,
        medium: str,
        address: str,
        secret: str,
        send_attempt: int,
        next_link: str | None,
        same: ValidationSession | None,
    ) -> PlannedSession:
        """A session about to begin, or `same` with a new link and code, to be stored with the message that has them."""
        letters = "".join(_LETTERS[self._randomness.below(len(_LETTERS))] for _ in range(_CODE_LENGTH))
        token = self._randomness.token()
        session_id = self._randomness.token(18) if same is None else same.session_id
        session = ValidationSession(
            session_id,
            purpose,
            medium,
            address,
            _hash(secret),
            _hash(token),
            _hash(letters),
            send_attempt,
            next_link,
            0 if same is None else same.wrong_guesses,
            self._clock.now_ms() + self._settings.link_lifetime,
            None,
        )
        link = f"{self._public_baseurl}{LINK_PATH}?{urlencode({'sid': session_id, 'token': token})}"
        return PlannedSession(session, link, f"{letters[:4]}-{letters[4:]}")

    async def find_open(self, session_id: str, token: str) -> ValidationSession | None:
        """The session a link belongs to, whether or not it is confirmed; None for a link that does not work."""
        session = await self._database.read(rows.find_session, session_id)
        if session is None or session.expires_ms <= self._clock.now_ms():
            return None
        return session if hmac.compare_digest(session.link_hash, _hash(token)) else None

    async def submit(self, session_id: str, token: str, secret: str | None) -> ValidationSession:
        """Confirm an address by the link's token, or by the code together with the client's secret.

        M_NO_VALID_SESSION, M_SESSION_EXPIRED, M_TOKEN_INCORRECT.
        """
        session = await self._database.read(rows.find_session, session_id)
        if session is None or (secret is not None and not hmac.compare_digest(session.secret_hash, _hash(secret))):
            raise _no_such_session(404)
        now_ms = self._clock.now_ms()
        if session.expires_ms <= now_ms or session.wrong_guesses >= _MOST_WRONG_GUESSES:
            raise MatrixError("M_SESSION_EXPIRED", "This link or code has expired. Ask for a new one.", 400)
        is_link = hmac.compare_digest(session.link_hash, _hash(token))
        is_code = secret is not None and hmac.compare_digest(session.code_hash, _hash(_as_code(token)))
        if not is_link and not is_code:
            await self._database.write(rows.note_wrong_guess, session_id)
            raise MatrixError("M_TOKEN_INCORRECT", "This is not the code that was sent.", 400)
        await self._database.write(rows.validate_session, session_id, now_ms, now_ms + _DAY_MS)
        return session

    async def get_validated(self, purpose: str, session_id: str, secret: str) -> ValidationSession:
        """The session in which somebody has confirmed an address for this purpose.

        M_NO_VALID_SESSION, M_SESSION_NOT_VALIDATED, M_SESSION_EXPIRED.
        """
        session = await self._database.read(rows.find_session, session_id)
        if session is None or session.purpose != purpose or not hmac.compare_digest(session.secret_hash, _hash(secret)):
            raise _no_such_session(400)
        if session.expires_ms <= self._clock.now_ms():
            raise MatrixError("M_SESSION_EXPIRED", "This session has expired.", 400)
        if session.validated_ms is None:
            raise MatrixError("M_SESSION_NOT_VALIDATED", "The address has not been confirmed yet.", 400)
        return session

    async def use_up(self, session_id: str) -> bool:
        """Whether the session was there to be used; it is not any more."""
        return await self._database.write(rows.take_session, session_id)

    async def forget_expired(self) -> None:
        """Retention: a day after their end, so that latecomers are told why a link does not work."""
        await self._database.write(rows.delete_expired, self._clock.now_ms() - _DAY_MS)


class PlannedSession:
    """A session that is not stored yet, with what only the owner of the address may see."""

    __slots__ = ("code", "link", "session")

    def __init__(self, session: ValidationSession, link: str, code: str) -> None:
        self.session = session
        self.link = link
        self.code = code

    def write(self, tx: Transaction) -> None:
        """Store it."""
        rows.store_session(tx, self.session)


def lifetime_in_minutes(settings: EmailSettings) -> str:
    return str(settings.link_lifetime // 60_000)


def _as_code(text: str) -> str:
    """A code as people type it: in any case, with or without the hyphen."""
    return "".join(character for character in text.upper() if character.isalnum())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _no_such_session(status: int) -> MatrixError:
    return MatrixError("M_NO_VALID_SESSION", "There is no such session.", status)
