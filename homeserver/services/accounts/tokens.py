"""Turns access tokens into requesters: the web kit's `Authenticator`, with a cache that makes it nearly free.

Also remembers which device was used where, and writes that down in batches.

Spec: client-server-api #using-access-tokens
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeserver.protocol.errors import MatrixError, unknown_token
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.storage import access_tokens, devices
from homeserver.storage.devices import LastSeen
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from collections.abc import Callable

    from homeserver.runtime.clock import Clock
    from homeserver.services.accounts.ports import AppserviceDirectory
    from homeserver.storage.access_tokens import Session
    from homeserver.storage.database import Database
    from homeserver.web.request import Request

_NEVER = 1 << 62
_SEEN_EVERY_MS = 120_000
_MOST_FORGOTTEN = 10_000
_ALLOWED_WHILE_LOCKED = frozenset(
    f"/_matrix/client/{version}/{end}" for version in ("v3", "r0") for end in ("logout", "logout/all")
)


def hash_token(token: str) -> bytes:
    """The form in which tokens are stored. Tokens are random, so a plain hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


@dataclass(slots=True)
class _Known:
    requester: Requester
    loaded_at: int  # the count of forgettings when its row was read
    locked: bool
    expires_ms: int
    recheck_ms: int
    look_ms: int  # when to look again at the times above


class Tokens:
    """The access tokens of this server. `recheck_ms`: with several processes, how long one may trust its cache."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        appservices: AppserviceDirectory,
        *,
        cache_size: int = 50_000,
        recheck_ms: int | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._appservices = appservices
        self._recheck_ms = recheck_ms
        self.cache: BoundedCache[str, _Known] = BoundedCache("access_tokens", cache_size)
        self._forgettings = 0
        self._forgotten_all_at = 0
        self._forgotten_at: dict[str, int] = {}
        self._seen: dict[tuple[str, str], LastSeen] = {}
        self._listeners: list[Callable[[str], None]] = []

    async def authenticate(self, token: str, request: Request) -> Requester:
        """Who asks. M_UNKNOWN_TOKEN (softly for an expired token), M_USER_LOCKED."""
        known = self.cache.find(token)
        if known is None or known.loaded_at < self._forgotten_at.get(known.requester.user_id, self._forgotten_all_at):
            appservice = await self._appservices.find_requester(token, request)
            if appservice is not None:
                return appservice
            known = await self._load(token)
        if self._clock.now_ms() >= known.look_ms:
            known = await self._look_again(token, known, request)
        if known.locked and request.target.partition("?")[0] not in _ALLOWED_WHILE_LOCKED:
            raise user_locked()
        return known.requester

    def on_forget(self, listener: Callable[[str], None]) -> None:
        """Have `listener(user_id)` called when this process changes the standing of an account, or its tokens."""
        self._listeners.append(listener)

    def forget_user(self, user_id: str, *, told: bool = False) -> None:
        """The standing of an account, or its tokens, have changed: read them anew. `told`: by another process."""
        if not told:
            for listener in self._listeners:
                listener(user_id)
        self._appservices.user_changed(user_id)
        self._forgettings += 1
        self._forgotten_at[user_id] = self._forgettings
        if len(self._forgotten_at) > _MOST_FORGOTTEN:
            self.forget_all()

    def forget_all(self) -> None:
        """Nobody knows what changed."""
        self._forgettings += 1
        self._forgotten_at.clear()
        self._forgotten_all_at = self._forgettings

    async def flush_last_seen(self) -> None:
        """Write down where devices were used; to be called every minute or so, and before the end."""
        seen, self._seen = list(self._seen.values()), {}
        if seen:
            await self._database.write(devices.record_seen, seen)

    async def _load(self, token: str) -> _Known:
        loaded_at = self._forgettings
        session = await self._database.read(access_tokens.find_session, hash_token(token))
        if session is None or session.deactivated:
            raise unknown_token("This access token is not known, or its session was ended.")
        now_ms = self._clock.now_ms()
        if session.expires_ms is not None and session.expires_ms <= now_ms:
            raise unknown_token("This access token has expired.", soft_logout=True)
        if session.refresh_nid is not None and not session.used:
            # Its first use ends the tokens it replaced.
            await self._database.write(access_tokens.mark_used, session.token_nid, now_ms)
            self.forget_user(session.user_id)
            return await self._load(token)
        known = _Known(
            _requester_of(session),
            loaded_at,
            session.locked,
            _NEVER if session.expires_ms is None else session.expires_ms,
            _NEVER if self._recheck_ms is None else now_ms + self._recheck_ms,
            look_ms=now_ms,
        )
        self.cache.put(token, known)
        return known

    async def _look_again(self, token: str, known: _Known, request: Request) -> _Known:
        now_ms = self._clock.now_ms()
        if now_ms >= known.expires_ms:
            self.cache.drop(token)
            raise unknown_token("This access token has expired.", soft_logout=True)
        if now_ms >= known.recheck_ms:
            known = await self._load(token)
        self._note_seen(known.requester, request, now_ms)
        known.look_ms = min(now_ms + _SEEN_EVERY_MS, known.expires_ms, known.recheck_ms)
        return known

    def _note_seen(self, requester: Requester, request: Request, now_ms: int) -> None:
        if requester.device_id is None:
            return
        key = (requester.user_id, requester.device_id)
        self._seen[key] = LastSeen(*key, now_ms, request.client_address, request.user_agent)


def user_locked() -> MatrixError:
    """Spec: client-server-api #account-locking"""
    return MatrixError("M_USER_LOCKED", "This account has been locked.", 401, extra={"soft_logout": True})


def check_not_suspended(requester: Requester) -> None:
    """M_USER_SUSPENDED for what suspended users may not do. Spec: client-server-api #account-suspension"""
    if requester.is_suspended:
        raise MatrixError("M_USER_SUSPENDED", "You cannot do this while your account is suspended.", 403)


def _requester_of(session: Session) -> Requester:
    return Requester(
        user_id=session.user_id,
        device_id=session.device_id,
        is_guest=session.kind == "guest",
        is_admin=session.admin,
        token_nid=session.token_nid,
        is_suspended=session.suspended,
        is_rate_limited=not (session.admin or session.rate_limit_exempt),
    )
