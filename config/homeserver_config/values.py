"""The value types of the settings: durations, sizes, secrets, patterns, server names.
Each parses what a person writes and prints it back the same way.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

_DURATION_UNITS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
_SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DURATION = re.compile(r"(\d+)\s*(ms|s|m|h|d|w|y)")
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(i?B)?", re.IGNORECASE)
_SERVER_NAME = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,255})(:\d{1,5})?")


class Section(BaseModel):
    """A section of the settings: frozen, and no key it does not know. An empty section means its defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, data: Any) -> Any:
        return {} if data is None else data


class Duration(int):
    """A time span, an integer of milliseconds. Written as `30s`, `1h30m`, `7d`, or a plain number of milliseconds."""

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        if isinstance(value, str):
            text = value.replace(" ", "")
            parts = _DURATION.findall(text)
            if parts and "".join(number + unit for number, unit in parts) == text:
                return cls(sum(int(number) * _DURATION_UNITS[unit] for number, unit in parts))
        raise ValueError("must be a duration such as 500ms, 30s, 5m, 1h30m, 7d or 4w")

    @property
    def text(self) -> str:
        """As one would write it, in the largest unit that divides it."""
        for unit in ("d", "h", "m", "s"):
            if self and self % _DURATION_UNITS[unit] == 0:
                return f"{int(self) // _DURATION_UNITS[unit]}{unit}"
        return f"{int(self)}ms"

    @property
    def seconds(self) -> float:
        return self / 1000

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)


class ByteSize(int):
    """An amount of bytes. Written as `512K`, `50M`, `2G` (powers of 1024), or a plain number of bytes."""

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueError("must be a size such as 512K, 50M or 2G")
        return cls(int(match[1]) * _SIZE_UNITS[match[2].upper()])

    @property
    def text(self) -> str:
        """As one would write it, in the largest unit that divides it."""
        for unit in ("T", "G", "M", "K"):
            if self and self % _SIZE_UNITS[unit] == 0:
                return f"{int(self) // _SIZE_UNITS[unit]}{unit}"
        return str(int(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)


@dataclass(frozen=True, slots=True)
class ReadContext:
    """Where secrets come from while settings are read: the environment, and the folder relative files start from."""

    env: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path()


class Secret:
    """A text nobody may see in a log or a traceback; `reveal()` gives it away.

    Written inline, or as `{file: path}` (its text without the last line end) or `{env: NAME}`.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    @classmethod
    def parse(cls, value: object, context: ReadContext) -> "Secret":
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, Mapping) and len(value) == 1:
            (source, name), *_ = value.items()
            if source == "file" and isinstance(name, str):
                return cls(_text_of_file(context.directory / name))
            if source == "env" and isinstance(name, str):
                if name not in context.env:
                    raise ValueError(f"the environment has no variable {name}")
                return cls(context.env[name])
        raise ValueError("must be a text, {file: path} or {env: NAME}")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: object, info: core_schema.ValidationInfo) -> "Secret":
            context = info.context if isinstance(info.context, ReadContext) else ReadContext()
            return cls.parse(value, context)

        return core_schema.with_info_plain_validator_function(validate)


def _text_of_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8 text") from None


class Glob:
    """A pattern with `*` (any characters) and `?` (one character), compared without regard to case."""

    __slots__ = ("_expression", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
        self._expression = re.compile(expression, re.IGNORECASE | re.DOTALL)

    def matches(self, text: str) -> bool:
        return self._expression.fullmatch(text) is not None

    def __repr__(self) -> str:
        return f"Glob({self.pattern!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Glob) and other.pattern == self.pattern

    def __hash__(self) -> int:
        return hash(self.pattern)

    @classmethod
    def parse(cls, value: object) -> "Glob":
        if isinstance(value, Glob):
            return value
        if isinstance(value, str) and value:
            return cls(value)
        raise ValueError("must be a pattern such as *.example.org")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)


def _server_name(value: str) -> str:
    if _SERVER_NAME.fullmatch(value) is None:
        raise ValueError("must be a server name such as example.org or example.org:8448, without https://")
    return value


def _base_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+(/[^\s?#]*)?", value):
        raise ValueError("must be a URL such as https://matrix.example.org")
    return value.rstrip("/")


def _text_of_number(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ServerName = Annotated[str, AfterValidator(_server_name)]
"""A server name of the specification's grammar. Spec: appendices #server-name"""

BaseUrl = Annotated[str, AfterValidator(_base_url)]
"""An http(s) URL without query or fragment; a slash at its end is dropped."""

Text = Annotated[str, BeforeValidator(_text_of_number)]
"""A text that people may write as a number, such as a room version."""
