"""What messages say: a text and an HTML template for each, taken from the operator's folder where it has one.

Placeholders are `$name`. A template that cannot be read or names something unknown stops the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Protocol

_OWN = Path(__file__).parent / "templates"
_SUBJECT = "Subject: "
_ALWAYS = frozenset({"app_name", "server_name"})

MESSAGES: Mapping[str, frozenset[str]] = {
    "verify_register": frozenset({"address", "link", "code", "minutes"}),
    "verify_add": frozenset({"address", "link", "code", "minutes"}),
    "verify_password": frozenset({"address", "link", "code", "minutes"}),
    "already_registered": frozenset({"address", "user_id"}),
    "no_account": frozenset({"address"}),
    "address_added": frozenset({"address", "user_id"}),
    "digest": frozenset({"user_id", "count", "rooms", "unsubscribe_link"}),
}
"""The messages, and what their templates may say."""

PARTS: Mapping[str, frozenset[str]] = {
    "digest_room": frozenset({"room", "count", "messages", "link"}),
    "digest_message": frozenset({"sender", "body"}),
}
"""Pieces of messages that are repeated."""

_LAYOUT = "layout"


class BadTemplate(Exception):
    """A template cannot be used."""


class AnyPart(Protocol):
    """A rendered piece of a message."""

    @property
    def text(self) -> str: ...
    @property
    def html(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Part:
    """A rendered piece, as text and as HTML."""

    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered message."""

    subject: str
    text: str
    html: str


Value = str | Sequence[AnyPart]


class MailTemplates:
    """All templates, read once."""

    def __init__(self, directory: Path | None, app_name: str, server_name: str) -> None:
        self._always = {"app_name": app_name, "server_name": server_name}
        self._directory = directory
        self._texts: dict[str, Template] = {}
        self._pages: dict[str, Template] = {}
        for name, allowed in [*MESSAGES.items(), *PARTS.items()]:
            self._texts[name] = self._read(f"{name}.txt", allowed)
            self._pages[name] = self._read(f"{name}.html", allowed)
        for name in MESSAGES:
            if not self._texts[name].template.startswith(_SUBJECT):
                raise BadTemplate(f"the template {name}.txt must begin with a line `{_SUBJECT}…`")
        self._layout = self._read(f"{_LAYOUT}.html", frozenset({"title", "content"}))

    def part(self, name: str, values: Mapping[str, Value]) -> Part:
        """One piece of a message."""
        return Part(
            self._texts[name].substitute(_as_text(values), **self._always),
            self._pages[name].substitute(_as_html(values), **_as_html(self._always)),
        )

    def render(self, name: str, values: Mapping[str, Value]) -> Rendered:
        """A whole message."""
        whole = self.part(name, values)
        subject, _, text = whole.text.partition("\n")
        title = " ".join(subject.removeprefix(_SUBJECT).split())
        page = self._layout.substitute(title=escape(title), content=whole.html, **_as_html(self._always))
        return Rendered(title, text.lstrip("\n"), page)

    def _read(self, name: str, allowed: Iterable[str]) -> Template:
        own = self._directory / name if self._directory is not None else None
        path = own if own is not None and own.is_file() else _OWN / name
        try:
            template = Template(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BadTemplate(f"the template {path} cannot be read: {error}") from error
        if not template.is_valid():
            raise BadTemplate(f"the template {path} holds a `$` that is no placeholder; write `$$` for a plain one")
        unknown = set(template.get_identifiers()) - set(allowed) - _ALWAYS
        if unknown:
            raise BadTemplate(f"the template {path} asks for {', '.join(sorted(unknown))}, which nobody knows")
        return template


def _as_text(values: Mapping[str, Value]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else "".join(part.text for part in value)
        for name, value in values.items()
    }


def _as_html(values: Mapping[str, Value]) -> dict[str, str]:
    return {
        name: escape(value) if isinstance(value, str) else "".join(part.html for part in value)
        for name, value in values.items()
    }
