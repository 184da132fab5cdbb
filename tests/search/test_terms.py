"""How text becomes terms: words, pairs where there are no spaces, no accents, no limits to be abused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.services.search.terms import Term, index_terms, query_terms, words_of


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The quick brown Fox", "fox"),
        ("Die Straße nach Köln", "strasse koln"),
        ("messages from bots", "message"),
        ("東京都に住んでいます", "東京"),
        ("東京都に住んでいます", "都"),
        ("黒猫", "猫"),
        ("한국어를 배워요", "한국"),
        ("我们在图书馆见面", "图书馆"),
        ("Съешь же ещё этих булок", "еще"),
        ("I use python3 and 日本語 together", "python3 日本"),
        ("ﬁne ligatures", "fine"),
    ],
)
def test_what_is_written_is_found(text: str, query: str) -> None:
    assert _finds(query, text)


@pytest.mark.parametrize(
    ("text", "query"),
    [("東京都", "京東"), ("cat", "dog"), ("category", "at"), ("an apple", "apples"), ("to be", "t")],
)
def test_what_is_not_written_is_not_found(text: str, query: str) -> None:
    assert not _finds(query, text)


def test_the_words_to_highlight_are_the_users_own() -> None:
    assert words_of("Straße, STRASSE & 東京!") == ["straße", "strasse", "東京"]


@given(st.text(max_size=300))
def test_every_text_is_found_by_its_own_words(text: str) -> None:
    assert _finds(text, text) or not query_terms(text)


@given(st.text(max_size=300))
def test_terms_need_only_be_quoted(text: str) -> None:
    terms = [*index_terms(text), *(term.text for term in query_terms(text))]
    assert all(term.isalnum() or term.isprintable() for term in terms)
    assert not any(character in term for term in terms for character in "'\"*:()&| \ue000\x00")


def test_terms_are_bounded() -> None:
    assert max(map(len, index_terms("a" * 10_000))) <= 64
    assert len(index_terms(" ".join(map(str, range(10_000))))) <= 2_000
    assert len(query_terms(" ".join(map(str, range(10_000))))) <= 20


def _finds(query: str, text: str) -> bool:
    terms = index_terms(text)
    return bool(query_terms(query)) and all(_has(terms, wanted) for wanted in query_terms(query))


def _has(terms: list[str], wanted: Term) -> bool:
    return any(term.startswith(wanted.text) if wanted.is_prefix else term == wanted.text for term in terms)
