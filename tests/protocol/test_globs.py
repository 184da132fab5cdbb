from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol.globs import Glob, glob_of, literal_of

WORDS = st.text(alphabet="ab-_é", max_size=8)
PATTERNS = st.text(alphabet="ab-_*?", max_size=6)


def as_regex(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)


@given(PATTERNS, WORDS)
def test_whole_agrees_with_a_regular_expression(pattern: str, text: str) -> None:
    expected = re.fullmatch(as_regex(pattern), text, re.DOTALL) is not None
    assert Glob(pattern).matches_whole(text) is expected


@given(PATTERNS, WORDS)
def test_words_agree_with_trying_every_part(pattern: str, text: str) -> None:
    def is_boundary(place: int) -> bool:
        around = text[max(place - 1, 0) : place + 1]
        return place in {0, len(text)} or not all(re.match("[A-Za-z0-9_]", character) for character in around)

    places = [place for place in range(len(text) + 1) if is_boundary(place)]
    expected = any(
        re.fullmatch(as_regex(pattern), text[start:end], re.DOTALL)
        for start in places
        for end in places
        if start <= end
    )
    assert Glob(pattern).matches_words_in(text) is expected


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("an example event.", True),
        ("exple", True),
        ("an exciting triple-whammy", True),
        ("anexample", False),
        ("", False),
    ],
)
def test_body_examples_of_the_specification(text: str, matches: bool) -> None:
    assert glob_of("ex*ple").matches_words_in(text) is matches


@pytest.mark.parametrize(
    ("text", "matches"), [("lunch plans", True), ("lunch", True), (" lunch", False), ("lunc", False)]
)
def test_value_examples_of_the_specification(text: str, matches: bool) -> None:
    assert glob_of("lunc?*").matches_whole(text) is matches


def test_case_of_the_pattern_does_not_matter() -> None:
    assert glob_of("LuNcH").matches_whole("lunch")
    assert glob_of("CAKE*").matches_words_in("some cake")


def test_literals_take_wildcards_for_themselves() -> None:
    assert literal_of("a*b").matches_words_in("an a*b")
    assert not literal_of("a*b").matches_words_in("an axb")
    assert not literal_of("a?").matches_words_in("ab")


@pytest.mark.parametrize("pattern", ["*a" * 12 + "*b", "a*" * 12 + "b", "?*" * 12 + "b", "a*b", "*b"])
def test_hostile_patterns_take_no_time(pattern: str) -> None:
    text = "a " * 30_000
    started = time.perf_counter()
    assert not glob_of(pattern).matches_whole(text)
    assert not glob_of(pattern).matches_words_in(text)
    assert time.perf_counter() - started < 1
