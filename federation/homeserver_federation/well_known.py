"""`/.well-known/matrix/server` of other domains: fetched, and kept as long as its headers say, within bounds.

Spec: server-server-api #getwell-knownmatrixserver
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import structlog

from homeserver.protocol.identifiers import is_server_name
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.runtime.http_client import RemoteFailure

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.http_client import HttpClient, HttpResponse
    from homeserver_config.sections.federation import FederationSettings

_log = structlog.get_logger("homeserver.federation.discovery")
_KEPT_MS = 24 * 3_600_000
_KEPT_AT_MOST_MS = 48 * 3_600_000
_KEPT_AT_LEAST_MS = 300_000
_FIRST_PAUSE_MS = 120_000
_LONGEST_PAUSE_MS = 3_600_000
_MOST_BYTES = 51_200
_MOST_REDIRECTS = 5
_TIMEOUT_S = 15.0
_MOST_DOMAINS = 20_000
_MAX_AGE = re.compile(r"max-age\s*=\s*\"?(\d{1,12})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a domain said. `good_until_ms` bounds how long it is believed while newer attempts fail."""

    delegated: str | None
    until_ms: int
    good_until_ms: int = 0
    failures: int = 0


def well_known_url(host: str) -> str:
    """Where a domain keeps the file."""
    return f"https://{host}/.well-known/matrix/server"


class WellKnown:
    """Finds the name a domain delegates to. `url_of` says where a domain keeps the file."""

    def __init__(
        self,
        http: HttpClient,
        settings: FederationSettings,
        clock: Clock,
        *,
        url_of: Callable[[str], str] = well_known_url,
    ) -> None:
        self._http = http
        self._settings = settings
        self._clock = clock
        self._url_of = url_of
        self.cache: BoundedCache[str, _Known] = BoundedCache("well_known", _MOST_DOMAINS)

    async def find(self, host: str) -> str | None:
        """The server name that the domain delegates to; None when it has no (valid) file."""
        known = self.cache.find(host)
        now_ms = self._clock.now_ms()
        if known is not None and known.until_ms > now_ms:
            return known.delegated
        fetched = await self._fetch(host)
        if fetched is None:
            fetched = _after_failure(known, now_ms)
        self.cache.put(host, fetched)
        return fetched.delegated

    async def _fetch(self, host: str) -> _Known | None:
        exempt = any(pattern.matches(host) for pattern in self._settings.verification_exemptions)
        try:
            response = await self._http.request(
                "GET",
                self._url_of(host),
                timeout_s=_TIMEOUT_S,
                max_bytes=_MOST_BYTES,
                redirects=_MOST_REDIRECTS,
                verify_tls=not exempt,
            )
            delegated = response.json().get("m.server") if response.status == 200 else None
        except (RemoteFailure, AttributeError) as error:
            _log.debug("no .well-known file", domain=host, reason=str(error))
            return None
        if not isinstance(delegated, str) or not is_server_name(delegated):
            return None
        now_ms = self._clock.now_ms()
        until_ms = now_ms + _lifetime_ms(response, now_ms)
        return _Known(delegated, until_ms, good_until_ms=now_ms + _KEPT_AT_MOST_MS)


def _after_failure(known: _Known | None, now_ms: int) -> _Known:
    failures = 0 if known is None else known.failures
    until_ms = now_ms + min(_FIRST_PAUSE_MS * 2**failures, _LONGEST_PAUSE_MS)
    if known is not None and known.delegated is not None and now_ms < known.good_until_ms:
        return _Known(known.delegated, min(until_ms, known.good_until_ms), known.good_until_ms, min(failures + 1, 16))
    return _Known(None, until_ms, failures=min(failures + 1, 16))


def _lifetime_ms(response: HttpResponse, now_ms: int) -> int:
    lifetime_ms = _KEPT_MS
    control = response.headers.get("cache-control", "").lower()
    max_age = _MAX_AGE.search(control)
    if "no-store" in control or "no-cache" in control:
        lifetime_ms = 0
    elif max_age is not None:
        lifetime_ms = int(max_age[1]) * 1000
    elif "expires" in response.headers:
        lifetime_ms = _until_ms(response.headers["expires"]) - now_ms
    return max(_KEPT_AT_LEAST_MS, min(lifetime_ms, _KEPT_AT_MOST_MS))


def _until_ms(expires: str) -> int:
    try:
        return round(parsedate_to_datetime(expires).timestamp() * 1000)
    except ValueError:
        return 0  # as HTTP wants it: what cannot be read has expired
