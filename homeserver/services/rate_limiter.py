"""How often things may be done: a token bucket for each kind of thing and each account or address.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm).

Spec: client-server-api #rate-limiting
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.protocol.errors import limit_exceeded

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.web.requester import Requester
    from homeserver_config.sections.rate_limits import RateLimit, RateLimitSettings

_MOST_BUCKETS = 100_000


class RateLimits:
    """The buckets of this process; full ones are forgotten. Implements the web kit's `RateLimiter`."""

    def __init__(self, settings: RateLimitSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._full_at: dict[tuple[str, str], float] = {}

    def check(self, bucket: str, requester: Requester | None, address: str) -> None:
        """Take one out of the requester's bucket, or of the address's where nobody is logged in."""
        if requester is None:
            self.take(bucket, address)
        elif requester.is_rate_limited:
            self.take(bucket, requester.user_id)

    def take(self, bucket: str, key: str) -> None:
        """Take one out of the bucket of `key`; M_LIMIT_EXCEEDED with `retry_after_ms` when it is empty."""
        limit = self._find_limit(bucket)
        if limit is None:
            return
        now = self._clock.monotonic()
        full_at = self._check_not_empty(limit, bucket, key, now)
        if len(self._full_at) >= _MOST_BUCKETS:
            self._forget_full(now)
        self._full_at[bucket, key] = max(full_at, now) + 1 / limit.per_second

    def ensure(self, bucket: str, key: str) -> None:
        """Raise as `take` does, and take nothing."""
        limit = self._find_limit(bucket)
        if limit is not None:
            self._check_not_empty(limit, bucket, key, self._clock.monotonic())

    def note(self, bucket: str, key: str) -> None:
        """Take one out of the bucket if there is one, and never raise."""
        limit = self._find_limit(bucket)
        if limit is not None:
            now = self._clock.monotonic()
            latest = now + limit.burst / limit.per_second
            full_at = max(self._full_at.get((bucket, key), now), now) + 1 / limit.per_second
            self._full_at[bucket, key] = min(full_at, latest)

    def _find_limit(self, bucket: str) -> RateLimit | None:
        limit = self._settings.find_bucket(bucket)
        if limit is None:
            raise LookupError(f"there is no rate limit {bucket!r}")
        return limit if self._settings.enabled else None

    def _check_not_empty(self, limit: RateLimit, bucket: str, key: str, now: float) -> float:
        full_at = self._full_at.get((bucket, key), now)
        wait = full_at - now - (limit.burst - 1) / limit.per_second
        if wait > 1e-6:
            raise limit_exceeded(max(1, round(wait * 1000)))
        return full_at

    def _forget_full(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        if len(self._full_at) >= _MOST_BUCKETS:
            # Everybody is busy: let go of those who have most left, not of those the limits are there for.
            busiest = sorted(self._full_at.items(), key=lambda item: item[1])[_MOST_BUCKETS // 10 :]
            self._full_at = dict(busiest)
