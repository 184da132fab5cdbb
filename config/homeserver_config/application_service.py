"""One application service's registration, from its file or from JSON; mistakes are told with file, line and key.

Keys this server does not know are passed over: bridges keep settings of their own in there.

Spec: application-service-api #registration
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, field_validator

from homeserver_config.reader import ConfigError, read_model
from homeserver_config.values import BaseUrl, Secret, Section, Text
from homeserver_config.yaml_document import Mistake


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


def _localpart(text: str) -> str:
    if not text or ":" in text or text.startswith("@"):
        raise ValueError("must be the part of a user ID between @ and the colon")
    return text


class _Foreign(Section):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class Namespace(_Foreign):
    """User IDs, aliases or room IDs that begin as the regular expression says."""

    exclusive: bool
    regex: Annotated[str, AfterValidator(_pattern)]


class Namespaces(_Foreign):
    """What an application service takes an interest in."""

    users: list[Namespace] = Field(default=[])
    aliases: list[Namespace] = Field(default=[])
    rooms: list[Namespace] = Field(default=[])

    @field_validator("users", "aliases", "rooms", mode="before")
    @classmethod
    def _nothing_is_an_empty_list(cls, value: Any) -> Any:
        return [] if value is None else value


class Registration(_Foreign):
    """A registration. `url` is None for services that want no events."""

    id: Annotated[Text, Field(min_length=1, max_length=255)]
    url: BaseUrl | None
    as_token: Secret
    hs_token: Secret
    sender_localpart: Annotated[str, AfterValidator(_localpart)]
    namespaces: Namespaces
    rate_limited: bool = False
    protocols: list[str] = Field(default=[])
    receive_ephemeral: bool = False
    push_ephemeral: bool = False
    msc2409_push_ephemeral: bool = Field(default=False, alias="de.sorunome.msc2409.push_ephemeral")
    msc3202: bool = Field(default=False, alias="org.matrix.msc3202")
    msc4190: bool = Field(default=False, alias="io.element.msc4190")

    @field_validator("protocols", mode="before")
    @classmethod
    def _no_protocols(cls, value: Any) -> Any:
        return [] if value is None else value

    @field_validator("rate_limited", mode="before")
    @classmethod
    def _unlimited_unless_said(cls, value: Any) -> Any:
        return False if value is None else value

    @field_validator("as_token", "hs_token")
    @classmethod
    def _tokens_are_not_empty(cls, value: Secret) -> Secret:
        if not value.reveal():
            raise ValueError("must not be empty")
        return value


def read_registration(path: Path) -> Registration:
    """The registration in a YAML file. Raises ConfigError with every mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Mistake(str(path), 0, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Mistake(str(path), 0, "", "is not UTF-8 text")]) from None
    return parse_registration(text, str(path))


def parse_registration(text: str, name: str) -> Registration:
    """The registration in a YAML or JSON text; `name` says in mistakes where it came from. Raises ConfigError."""
    return read_model(Registration, text, name)


def read_registrations(paths: list[Path]) -> list[tuple[Path, Registration]]:
    """All registrations. Raises ConfigError with the mistakes of all files, and for an ID or token used twice."""
    found: list[tuple[Path, Registration]] = []
    mistakes: list[Mistake] = []
    for path in paths:
        try:
            found.append((path, read_registration(path)))
        except ConfigError as error:
            mistakes.extend(error.mistakes)
    mistakes.extend(_repeated("id", [(path, one.id) for path, one in found]))
    mistakes.extend(_repeated("as_token", [(path, one.as_token.reveal()) for path, one in found]))
    if mistakes:
        raise ConfigError(mistakes)
    return found


def _repeated(key: str, values: list[tuple[Path, str]]) -> Iterator[Mistake]:
    first: dict[str, Path] = {}
    for path, value in values:
        if value in first:
            yield Mistake(str(path), 0, key, f"is that of {first[value]} too; it must be unique")
        first.setdefault(value, path)
