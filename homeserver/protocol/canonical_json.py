"""Canonical JSON: the one byte sequence that hashes and signatures of a JSON value cover.
Strict for room versions 6 and later and for everything outside rooms, tolerant for older rooms.

Spec: appendices #canonical-json
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import orjson

MAX_INTEGER: Final = 2**53 - 1
_STRICT: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_TOLERANT: Final = orjson.OPT_SORT_KEYS


class CanonicalJsonError(ValueError):
    """The value has no canonical JSON form: a float, an integer beyond 53 bits, a lone surrogate, too deep nesting."""


def encode_canonical_json(value: Any, *, strict: bool = True) -> bytes:
    """The canonical bytes of a value made of dicts, lists, strings, integers, booleans and None.

    `strict=False` is for rooms of versions 1 to 5: floats and big integers go out as the JSON number they came in as.
    Raises CanonicalJsonError.
    """
    try:
        encoded = orjson.dumps(value, option=_STRICT if strict else _TOLERANT)
    except TypeError as error:
        if strict:
            raise CanonicalJsonError(str(error)) from error
        return _encode_with_unlimited_numbers(value)
    # orjson has bounded the depth by now, so the walk cannot exhaust the stack.
    if not _is_free_of_floats(value):
        if strict:
            raise CanonicalJsonError("Floats are not allowed")
        return _encode_with_unlimited_numbers(value)
    return encoded


def encode_part_of_canonical_json(part: Any) -> bytes:
    """The canonical bytes of a value whose every part has already passed the strict `encode_canonical_json`."""
    return orjson.dumps(part, option=_STRICT)


def decode_json(raw: bytes | str, *, exact_numbers: bool = False) -> Any:
    """Parse JSON; ValueError when it is not valid JSON in UTF-8.

    `exact_numbers` keeps integers beyond 64 bits as integers, at the price of speed: needed only for events of rooms
    of versions 1 to 5, where they are legal and hashed.
    """
    if not exact_numbers:
        return orjson.loads(raw)
    if isinstance(raw, bytes):
        raw = raw.decode("utf-8")
    try:
        value = json.loads(raw, parse_constant=_refuse_constant)
        _encode_with_unlimited_numbers(value)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    return value


def _is_free_of_floats(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        items = value.values()
    elif kind is list or kind is tuple:
        items = value
    else:
        return kind is not float
    for item in items:
        item_kind = type(item)
        if item_kind is str or item_kind is int:
            continue
        if item_kind is dict or item_kind is list:
            if item and not _is_free_of_floats(item):
                return False
        elif item_kind is float:
            return False
    return True


def _encode_with_unlimited_numbers(value: Any) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise CanonicalJsonError(str(error)) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
