"""Glob patterns as Matrix uses them: `*` for any characters, `?` for exactly one; without regard to case.
Matching takes one pass over the text, whatever the pattern: patterns and texts come from strangers.

Spec: appendices #glob-style-matching
"""

from __future__ import annotations

import re
from functools import lru_cache

# A place that is not between two word characters; \w would include letters beyond ASCII.
_BOUNDARY = "(?:(?<![a-z0-9_])|(?![a-z0-9_]))"


class Glob:
    """A compiled pattern. Texts handed to it must be in lower case already, so that many patterns can share that."""

    __slots__ = ("_at_boundaries", "_lengths", "_literal", "_segments", "pattern")

    def __init__(self, pattern: str, *, literal: bool = False) -> None:
        """`literal` takes `*` and `?` for themselves."""
        self.pattern = pattern
        lowered = pattern.lower()
        parts = [lowered] if literal else lowered.split("*")
        self._literal = lowered if literal or not ("*" in lowered or "?" in lowered) else None
        sources = [_segment_source(part, literal) for part in parts]
        self._lengths = [len(part) for part in parts]
        self._segments = [re.compile(source, re.DOTALL) for source in sources]
        sources[0] = _BOUNDARY + sources[0]
        sources[-1] += _BOUNDARY
        self._at_boundaries = [re.compile(source, re.DOTALL) for source in sources]

    def matches_whole(self, text: str) -> bool:
        """Whether the pattern covers the whole (lower-case) text."""
        if self._literal is not None:
            return text == self._literal
        first, *others = self._segments
        if not others:
            return first.fullmatch(text) is not None
        # Between the two ends, taking each segment where it first occurs leaves the most room for the next.
        start = len(text) - self._lengths[-1]
        end_of_first = first.match(text)
        if end_of_first is None:
            return False
        position = end_of_first.end()
        for segment in others[:-1]:
            found = segment.search(text, position)
            if found is None:
                return False
            position = found.end()
        return start >= position and others[-1].fullmatch(text, start) is not None

    def matches_words_in(self, text: str) -> bool:
        """Whether the pattern covers a part of the (lower-case) text that starts and ends at word boundaries."""
        if self._literal is not None and self._literal not in text:
            return False
        position = 0
        for segment in self._at_boundaries:
            found = segment.search(text, position)
            if found is None:
                return False
            position = found.end()
        return True


@lru_cache(maxsize=4096)
def glob_of(pattern: str) -> Glob:
    return Glob(pattern)


@lru_cache(maxsize=4096)
def literal_of(text: str) -> Glob:
    return Glob(text, literal=True)


def _segment_source(part: str, literal: bool) -> str:
    if literal:
        return re.escape(part)
    return "".join("." if character == "?" else re.escape(character) for character in part)
