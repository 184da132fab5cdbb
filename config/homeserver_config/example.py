"""Renders homeserver.yaml.example and docs/configuration.md from the models; a test keeps both in step.
`python -m homeserver_config.example`, a part of `tasks.py generate`, writes them.
"""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from homeserver_config.sections.listeners import ListenerSettings
from homeserver_config.sections.plugins import PluginEntry
from homeserver_config.settings import Settings
from homeserver_config.values import ByteSize, Duration, Glob, Secret

_LISTS: dict[str, type[BaseModel]] = {"listeners": ListenerSettings, "plugins": PluginEntry}

_HEADER = """\
# The settings of Starling. Every key is optional; what stands here are the defaults.
# Take away the "#" in front of what you change. A key the server does not know stops the start.
# Durations: 500ms, 30s, 5m, 1h30m, 7d. Sizes: 512K, 50M, 2G.
# Secrets: a text, {file: path} or {env: NAME}.
# Any key can also be set from the environment: HOMESERVER__DATABASE__POOL_SIZE=16.
# The same with tables: docs/configuration.md. Check a file with: homeserver check-config
"""

_MANUAL_HEADER = """\
# Configuration

<!-- Generated from config/homeserver_config/sections by `python3 tasks.py generate`; do not edit. -->

The server reads `homeserver.yaml`. Every key is optional. All mistakes are reported at once, each with its line and
key; a key the server does not know stops the start. `homeserver check-config` checks a file without starting.

- A **duration** is written as `500ms`, `30s`, `5m`, `1h30m` or `7d`.
- A **size** is written as `512K`, `50M` or `2G`, in powers of 1024.
- A **secret** is a text, `{file: path}` (relative to the settings' folder) or `{env: NAME}`.
- A **pattern** is a text with `*` (anything) and `?` (one character), compared without regard to case.
- Any key can be set from the environment: `HOMESERVER__DATABASE__POOL_SIZE=16` replaces `database.pool_size`.
"""


def render_example() -> str:
    """The text of homeserver.yaml.example."""
    parts = [_HEADER]
    for name, model in _sections():
        lines = [f"# {line}" for line in _wrap(_about(model), 117)]
        if name == "plugins":
            lines += ["#plugins:", "#  - name: example", "#    settings:", "#      key: value"]
        elif name in _LISTS:
            lines += [f"#{name}:", *_example_of_list(model)]
        else:
            lines += [f"{name}:", *_example_of_section(model)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def settings_for(server_name: str) -> str:
    """The example file with its server name set: what a new server starts from."""
    lines = render_example().splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.lstrip("# ").startswith("server_name:"):
            lines[number] = f"  server_name: {server_name}\n"
            lines[number - _lines_up_to_section(lines, number)] = "server:\n"
            return "".join(lines)
    raise ValueError("the example has no server_name")


def _lines_up_to_section(lines: list[str], number: int) -> int:
    """How far above a line its section begins."""
    above = next(n for n in range(number, -1, -1) if lines[n].lstrip("# ").startswith("server:"))
    return number - above


def render_manual() -> str:
    """The text of docs/configuration.md."""
    parts = [_MANUAL_HEADER]
    for name, model in _sections():
        kind = " (a list)" if name in _LISTS else ""
        rows = [
            f"| `{key}` | {_kind(field)} | {_default_cell(field)} | {field.description} |"
            for key, field in model.model_fields.items()
        ]
        table = "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows])
        parts.append(f"## {name}{kind}\n\n{_about(model)}\n\n{table}\n")
    return "\n".join(parts)


def generated_files() -> dict[str, str]:
    """Path from the project's root to text, of everything this module renders."""
    return {"homeserver.yaml.example": render_example(), "docs/configuration.md": render_manual()}


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Settings.model_fields.items():
        model = _LISTS.get(name, field.annotation)
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield name, model


def _about(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _example_of_section(model: type[BaseModel]) -> Iterator[str]:
    for key, field in model.model_fields.items():
        yield from (f"  # {line}" for line in _wrap(field.description or "", 115))
        yield f"  #{key}: {_yaml(_default(field))}"


def _example_of_list(model: type[BaseModel]) -> Iterator[str]:
    dash = "-"
    for key, field in model.model_fields.items():
        yield from (f"#    # {line}" for line in _wrap(field.description or "", 113))
        yield f"#  {dash} {key}: {_yaml(_default(field))}"
        dash = " "


def _default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True, validated_data={})
    return "(required)" if default is PydanticUndefined else _plain(default)


def _plain(value: Any) -> Any:
    if isinstance(value, Duration | ByteSize):
        return value.text
    if isinstance(value, Glob):
        return value.pattern
    if isinstance(value, BaseModel):
        return {key: _plain(getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if hasattr(value, "values"):
        return dict(value.values)
    return str(value)


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _default_cell(field: FieldInfo) -> str:
    value = _default(field)
    if value is None:
        return "none"
    text = _yaml(value)
    return f"`{text}`" if len(text) <= 80 else "see the example file"


def _kind(field: FieldInfo) -> str:
    return _kind_of(field.annotation).replace("|", "\\|")


def _kind_of(kind: Any) -> str:
    names = {str: "text", int: "number", float: "number", bool: "true or false", Path: "path", Duration: "duration"}
    names |= {ByteSize: "size", Secret: "secret", Glob: "pattern", Any: "anything"}
    if kind in names:
        return names[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin in (Union, UnionType):
        kinds = dict.fromkeys(_kind_of(argument) for argument in arguments if argument is not type(None))
        return " or ".join(kinds)
    if origin is list:
        return f"list of {_kind_of(arguments[0])}"
    if origin is dict:
        return f"mapping to {_kind_of(arguments[1])}"
    if origin is not None and arguments:
        return _kind_of(arguments[0])
    name = getattr(kind, "__name__", str(kind))
    return {"IPv4Network": "IP range", "IPv6Network": "IP range", "RawSettings": "mapping"}.get(name, "mapping")


def main(arguments: list[str], root: Path) -> int:
    """Write the generated files below the project's root; with `--check`, 1 if one is not as it would be written."""
    stale = False
    for name, text in generated_files().items():
        path = root / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            stale = True
            sys.stderr.write(f"{name} is out of step; run: python3 tasks.py generate\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return int(stale)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path()))
