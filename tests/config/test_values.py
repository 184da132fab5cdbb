"""The value types: what people may write, what it means, how it is written back."""

import pytest

from homeserver_config import ByteSize, Duration, Glob, Secret
from homeserver_config.sections.federation import FederationSettings
from homeserver_config.sections.rate_limits import RateLimitSettings


@pytest.mark.parametrize(
    ("written", "milliseconds", "text"),
    [
        ("500ms", 500, "500ms"),
        ("30s", 30_000, "30s"),
        ("1h30m", 5_400_000, "90m"),
        ("1h 30m", 5_400_000, "90m"),
        ("7d", 604_800_000, "7d"),
        ("2w", 1_209_600_000, "14d"),
        (1500, 1500, "1500ms"),
        (0, 0, "0ms"),
    ],
)
def test_durations(written: object, milliseconds: int, text: str) -> None:
    duration = Duration.parse(written)
    assert duration == milliseconds
    assert duration.text == text
    assert Duration.parse(duration.text) == duration


@pytest.mark.parametrize("written", ["", "5", "m", "5m x", "-5s", "5 parsecs", -1, True, 1.5, None])
def test_what_is_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        Duration.parse(written)


@pytest.mark.parametrize(
    ("written", "size", "text"),
    [
        ("512K", 524_288, "512K"),
        ("50M", 52_428_800, "50M"),
        ("2 GiB", 2**31, "2G"),
        ("1mb", 2**20, "1M"),
        (10, 10, "10"),
    ],
)
def test_sizes(written: object, size: int, text: str) -> None:
    assert ByteSize.parse(written) == size
    assert ByteSize.parse(written).text == text


@pytest.mark.parametrize("written", ["", "M", "5X", "-1K", "1.5M", True, None])
def test_what_is_no_size(written: object) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        ByteSize.parse(written)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*.example.org", "a.b.Example.org", True),
        ("*.example.org", "example.org", False),
        ("host?", "host1", True),
        ("host?", "host12", False),
        ("a.c", "abc", False),
        ("*", "anything\nat all", True),
    ],
)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert Glob(pattern).matches(text) is expected


def test_secrets_hide() -> None:
    secret = Secret("hidden")
    assert "hidden" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hidden"


def test_allow_and_deny() -> None:
    settings = FederationSettings(deny=[Glob("*.evil.example")])
    assert settings.may_talk_to("good.example")
    assert not settings.may_talk_to("very.evil.example")
    closed = FederationSettings(allow=[Glob("*.example")], deny=[Glob("evil.example")])
    assert closed.may_talk_to("good.example")
    assert not closed.may_talk_to("evil.example")
    assert not closed.may_talk_to("good.test")


def test_buckets_by_name() -> None:
    limits = RateLimitSettings()
    assert limits.find_bucket("message") == limits.message
    assert limits.find_bucket("enabled") is None
    assert limits.find_bucket("model_fields") is None
