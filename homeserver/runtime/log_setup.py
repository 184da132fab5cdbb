"""Sets up structured logs: JSON for machines or text for people, levels by logger, secrets taken out.
structlog writes bytes itself; lines of libraries that log through the standard library take the same way.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, BinaryIO

import orjson
import structlog

from homeserver_config.sections.logging import LoggingSettings

Line = MutableMapping[str, Any]

_HIDDEN = "…"
_SECRET_KEYS = re.compile(r"(^|_)(token|password|secret|authorization|cookie|pepper|private_key)$", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(access_token=|login_?token=|refresh_token=|Bearer\s+)[^\s&\"']+", re.IGNORECASE)


def set_up_logging(settings: LoggingSettings, stream: BinaryIO | None = None) -> None:
    """Send every line from now on to `stream` (standard error by default) as the settings say."""
    target = stream or sys.stderr.buffer
    terminal = bool(getattr(target, "isatty", lambda: False)())
    as_text = settings.format == "console" or (settings.format == "auto" and terminal)
    levels = {name: _number(level) for name, level in settings.levels.items()}
    lowest = min([_number(settings.level), *levels.values()])
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _LoggerLevels(_number(settings.level), levels),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(),
            hide_secrets,
            _TextLines(terminal) if as_text else structlog.processors.JSONRenderer(_dump),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=_NamedLoggers(target),
        cache_logger_on_first_use=True,
    )
    _capture_standard_library(max(lowest, logging.WARNING) if lowest > logging.DEBUG else logging.DEBUG)


def hide_secrets(logger: Any, method: str, line: Line) -> Line:
    """Take secrets out of a line: values under telling keys, tokens inside texts (URLs, tracebacks)."""
    for key, value in line.items():
        if _SECRET_KEYS.search(key) and value is not None:
            line[key] = _HIDDEN
        elif isinstance(value, str) and ("oken=" in value or "earer " in value):
            line[key] = _SECRET_TEXT.sub(lambda found: found[1] + _HIDDEN, value)
    return line


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _dump(value: Any, **_: Any) -> bytes:
    return orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS)


class _TextLines:
    """Lines for people, in colours on a terminal."""

    def __init__(self, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)

    def __call__(self, logger: Any, method: str, line: Line) -> bytes:
        return self._render(logger, method, line).encode("utf-8", "backslashreplace")


class _LoggerLevels:
    """Drops lines below their logger's own level; `a.b` also rules over `a.b.c`."""

    def __init__(self, default: int, levels: Mapping[str, int]) -> None:
        self._default = default
        self._levels = levels
        self._known: dict[str, int] = {}

    def __call__(self, logger: Any, method: str, line: Line) -> Line:
        name = logger.name
        line["logger"] = line.pop("library", name)
        level = self._known.get(line["logger"])
        if level is None:
            level = self._known[line["logger"]] = self._level_of(line["logger"])
        if _number(line["level"]) < level:
            raise structlog.DropEvent
        return line

    def _level_of(self, name: str) -> int:
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            level = self._levels.get(".".join(parts[:length]))
            if level is not None:
                return level
        return self._default


class _NamedLogger(structlog.BytesLogger):
    def __init__(self, file: BinaryIO, name: str) -> None:
        super().__init__(file)
        self.name = name


class _NamedLoggers:
    """Makes a logger that knows the name it was asked for by."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __call__(self, *names: Any) -> _NamedLogger:
        return _NamedLogger(self._file, str(names[0]) if names else "homeserver")


class _IntoStructlog(logging.Handler):
    """Hands lines of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, record.getMessage(), library=record.name, exc_info=record.exc_info or None)


def _capture_standard_library(level: int) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _IntoStructlog)]:
        root.removeHandler(handler)
    root.addHandler(_IntoStructlog())
    root.setLevel(level)
