"""Logs: lines as JSON or text, levels by logger, the standard library's lines too, and never a secret."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import structlog

from homeserver.runtime.log_setup import set_up_logging
from homeserver_config import Secret
from homeserver_config.sections.logging import LoggingSettings


@pytest.fixture(autouse=True)
def leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines_of(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_json() -> None:
    stream = io.BytesIO()
    set_up_logging(LoggingSettings(), stream)
    structlog.get_logger("homeserver.test").info("it happened", room_id="!r", count=2, thing={1, 2})
    (line,) = lines_of(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "it happened",
        "level": "info",
        "logger": "homeserver.test",
        "room_id": "!r",
        "count": 2,
        "thing": "{1, 2}",
    }


def test_levels_by_logger() -> None:
    stream = io.BytesIO()
    set_up_logging(
        LoggingSettings(level="warning", levels={"homeserver.web": "debug", "homeserver.web.x": "error"}), stream
    )
    for name in ("homeserver", "homeserver.web", "homeserver.web.y", "homeserver.web.x", "homeserver.website"):
        log = structlog.get_logger(name)
        log.debug("debug")
        log.warning("warning")
        log.error("error")
    assert [(line["logger"], line["event"]) for line in lines_of(stream)] == [
        ("homeserver", "warning"),
        ("homeserver", "error"),
        ("homeserver.web", "debug"),
        ("homeserver.web", "warning"),
        ("homeserver.web", "error"),
        ("homeserver.web.y", "debug"),
        ("homeserver.web.y", "warning"),
        ("homeserver.web.y", "error"),
        ("homeserver.web.x", "error"),
        ("homeserver.website", "warning"),
        ("homeserver.website", "error"),
    ]


@pytest.mark.parametrize("format_", ["json", "console"])
def test_no_secret_is_logged(format_: Any) -> None:
    stream = io.BytesIO()
    set_up_logging(LoggingSettings(format=format_), stream)
    log = structlog.get_logger("x")
    try:
        raise ValueError("GET /sync?access_token=hidden1&x=1 with Authorization: Bearer hidden2")
    except ValueError:
        local = "hidden3"
        log.exception("failed", access_token="hidden4", password="hidden5", pepper=Secret("hidden6"), token=local)
    log.info("asked", url="/?login_token=hidden7", shared_secret="hidden8", push_token=None)
    text = stream.getvalue().decode()
    assert "hidden" not in text
    assert "ValueError" in text
    assert "x=1" in text


def test_text_for_people() -> None:
    stream = io.BytesIO()
    set_up_logging(LoggingSettings(format="console"), stream)
    structlog.get_logger("homeserver.test").warning("careful", room_id="!ä")
    text = stream.getvalue().decode()
    assert "careful" in text
    assert "room_id=!ä" in text
    assert "\x1b" not in text


def test_lines_of_the_standard_library() -> None:
    stream = io.BytesIO()
    set_up_logging(LoggingSettings(), stream)
    set_up_logging(LoggingSettings(), stream)
    logging.getLogger("some.library").warning("number %d", 5)
    logging.getLogger("some.library").info("chatter")
    (line,) = lines_of(stream)
    assert (line["logger"], line["event"], line["level"]) == ("some.library", "number 5", "warning")
