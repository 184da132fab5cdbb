"""Dot-separated paths to properties of an event, such as `content.m\\.relates_to.rel_type`.

Spec: appendices #dot-separated-property-paths
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

ABSENT: Final = object()
_PIECE = re.compile(r"\\[\\.]|\.|[^\\.]+|\\", re.DOTALL)


@lru_cache(maxsize=4096)
def parse_property_path(path: str) -> tuple[str, ...]:
    """The property names along the path; `\\.` and `\\\\` stand for a literal dot and backslash."""
    names: list[str] = []
    name = ""
    for piece in _PIECE.findall(path):
        if piece == ".":
            names.append(name)
            name = ""
        elif len(piece) == 2 and piece[0] == "\\":
            name += piece[1]
        else:
            name += piece
    return (*names, name)


def property_at(names: tuple[str, ...], value: Any) -> Any:
    """The value at the end of the path, ABSENT when there is none."""
    for name in names:
        if not isinstance(value, Mapping) or name not in value:
            return ABSENT
        value = value[name]
    return value
