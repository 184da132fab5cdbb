"""Renders docs/plugin_hooks.md from the hook specifications; a test keeps it in step.
`python -m homeserver.plugin_api.hook_docs`, a part of `tasks.py generate`, writes it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from homeserver.plugin_api.hookspecs import ALL_HOOKS
from homeserver.plugin_api.implementations import hook_specifications

PLACE = "docs/plugin_hooks.md"

_HEADER = """\
# Plugin hooks

<!-- Generated from homeserver/plugin_api/hookspecs by `python3 tasks.py generate`; do not edit. -->

A plugin implements a hook by a method of the same name, marked with `@hookimpl`. It may leave out arguments it does
not need. How to write a plugin: [write_a_plugin.md](plugins/write_a_plugin.md).

The first word of a hook is its kind:

| kind | called | a plugin that fails |
|---|---|---|
| `check_` | in order; the first refusal wins | refuses |
| `provide_` | once, at the start; one plugin | stops the start |
| `register_` | once, at the start; all, concatenated | stops the start, and so does a clash |
| `transform_` | in order; each gets what the one before made of the value | is passed over |
| `on_` | in order, after the fact | is logged; the others hear of it all the same |

A call that takes longer than the plugin's `timeout` counts as failed. A misspelt hook stops the start.
"""


def render() -> str:
    """The text of docs/plugin_hooks.md."""
    parts = [_HEADER]
    for concern in ALL_HOOKS:
        parts.append(f"## {_title(concern)}\n")
        parts.extend(_section(name, function) for owner, name, function in hook_specifications() if owner is concern)
    return "\n".join(parts)


def _title(concern: type) -> str:
    module = sys.modules[concern.__module__]
    return (module.__doc__ or "").strip().removeprefix("Hooks about ").partition(":")[0].rstrip(".").capitalize()


def _section(name: str, function: Callable[..., Any]) -> str:
    text = inspect.cleandoc(function.__doc__ or "")
    return f"### `{name}`\n\n```python\n{_signature(name, function)}\n```\n\n{text}\n"


def _signature(name: str, function: Callable[..., Any]) -> str:
    """As one would write it in a plugin: annotations are texts already."""
    signature = inspect.signature(function)
    parameters = ", ".join(_parameters(signature))
    kind = "async def" if inspect.iscoroutinefunction(function) else "def"
    return f"@hookimpl\n{kind} {name}({parameters}) -> {signature.return_annotation}:"


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    for parameter in signature.parameters.values():
        yield parameter.name if parameter.name == "self" else f"{parameter.name}: {parameter.annotation}"


def main(arguments: list[str], root: Path) -> int:
    """Write the file below the project's root; with `--check`, 1 if it is not as it would be written."""
    path, text = root / PLACE, render()
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in arguments:
        sys.stderr.write(f"{PLACE} is out of step; run: python3 tasks.py generate\n")
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path()))
