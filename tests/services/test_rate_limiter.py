"""`RateLimits`: bursts, waiting, exemptions, and a bounded memory."""

from __future__ import annotations

import pytest

from homeserver.protocol.errors import MatrixError
from homeserver.runtime.clock import ManualClock
from homeserver.services import rate_limiter
from homeserver.services.rate_limiter import RateLimits
from homeserver.web.requester import Requester
from homeserver_config.sections.rate_limits import RateLimitSettings

SETTINGS = RateLimitSettings.model_validate({"message": {"per_second": 2, "burst": 3}})


def is_limited(limits: RateLimits, key: str = "alice", bucket: str = "message") -> int | None:
    """None if there was something in the bucket, else how long to wait in milliseconds."""
    try:
        limits.take(bucket, key)
    except MatrixError as error:
        wait: int = error.extra["retry_after_ms"]
        return wait
    return None


def test_the_error() -> None:
    limits = RateLimits(SETTINGS, ManualClock())
    for _ in range(3):
        limits.take("message", "alice")
    with pytest.raises(MatrixError, match="M_LIMIT_EXCEEDED") as refused:
        limits.take("message", "alice")
    assert (refused.value.status, refused.value.extra) == (429, {"retry_after_ms": 500})


async def test_a_burst_then_a_rate() -> None:
    clock = ManualClock()
    limits = RateLimits(SETTINGS, clock)
    assert [is_limited(limits) for _ in range(4)] == [None, None, None, 500]
    assert is_limited(limits, "bob") is None
    await clock.advance(0.5)
    assert [is_limited(limits) for _ in range(2)] == [None, 500]
    await clock.advance(60)
    assert [is_limited(limits) for _ in range(4)] == [None, None, None, 500]


async def test_ensure_takes_nothing_and_note_never_raises() -> None:
    clock = ManualClock()
    limits = RateLimits(SETTINGS, clock)
    for _ in range(10):
        limits.ensure("message", "alice")
    for _ in range(100):
        limits.note("message", "alice")
    with pytest.raises(MatrixError):
        limits.ensure("message", "alice")
    await clock.advance(0.5)  # a hundred failures do not count for longer than the burst
    limits.ensure("message", "alice")


def test_whose_bucket() -> None:
    limits = RateLimits(SETTINGS, ManualClock())
    alice = Requester("@alice:x")
    for _ in range(3):
        limits.check("message", alice, "192.0.2.1")
    with pytest.raises(MatrixError):
        limits.check("message", alice, "192.0.2.2")
    limits.check("message", None, "192.0.2.1")
    for _ in range(10):
        limits.check("message", Requester("@root:x", is_rate_limited=False), "192.0.2.1")


def test_off() -> None:
    limits = RateLimits(SETTINGS.model_copy(update={"enabled": False}), ManualClock())
    assert [is_limited(limits) for _ in range(10)] == [None] * 10


def test_a_misspelt_bucket_is_an_error_of_ours() -> None:
    with pytest.raises(LookupError):
        RateLimits(SETTINGS, ManualClock()).take("mesage", "alice")


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limiter, "_MOST_BUCKETS", 100)
    clock = ManualClock()
    limits = RateLimits(SETTINGS, clock)
    for _ in range(3):
        limits.take("message", "busy")
    for number in range(1_000):
        limits.take("message", f"user {number}")
        assert len(limits._full_at) <= 100
    assert is_limited(limits, "busy") == 500
    await clock.advance(60)
    for number in range(20):
        limits.take("message", f"newcomer {number}")
    assert len(limits._full_at) <= 20
