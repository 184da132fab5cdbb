"""Cuts text into the terms of the search index, the same way for what is indexed and what is asked.

Words where a script has spaces between them, pairs of characters where it has none.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

_LONGEST_TERM = 64
_MOST_TERMS = 2_000
_MOST_QUERY_TERMS = 20
_SHORTEST_PREFIX = 3
_WORD = re.compile(r"[^\W_]+")
# Han, Hiragana, Katakana, Hangul, and the scripts of South-East Asia that are written without spaces.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
)
# Up to here (Latin, Greek, Cyrillic, Armenian) a letter is also found without its accents.
_LAST_ACCENTED = "\u058f"


class Term(NamedTuple):
    """One term of a query. A prefix also finds longer terms."""

    text: str
    is_prefix: bool


def index_terms(text: str) -> list[str]:
    """The distinct terms a text is found by."""
    terms: dict[str, None] = {}
    for run, is_unspaced in _runs(text):
        if is_unspaced:
            terms.update(dict.fromkeys(_pairs(run)))
            terms[run[-1]] = None
        else:
            terms[run[:_LONGEST_TERM]] = None
        if len(terms) >= _MOST_TERMS:
            break
    return list(terms)


def query_terms(text: str) -> list[Term]:
    """The terms that must all be found."""
    terms: dict[Term, None] = {}
    for run, is_unspaced in _runs(text):
        if is_unspaced:
            pairs = _pairs(run)
            terms.update(dict.fromkeys([Term(pair, False) for pair in pairs] or [Term(run, True)]))
        else:
            terms[Term(run[:_LONGEST_TERM], len(run) >= _SHORTEST_PREFIX)] = None
    return list(terms)[:_MOST_QUERY_TERMS]


def words_of(text: str) -> list[str]:
    """The words of a query as the user wrote them, for highlighting."""
    return list(dict.fromkeys(word.lower() for word in _WORD.findall(text)))[:_MOST_QUERY_TERMS]


def _runs(text: str) -> list[tuple[str, bool]]:
    """Stretches of letters and digits, each with whether its script has no spaces."""
    runs: list[tuple[str, bool]] = []
    for word in _WORD.findall(_folded(text)):
        at = 0
        for unspaced in _UNSPACED.finditer(word):
            if unspaced.start() > at:
                runs.append((word[at : unspaced.start()], False))
            runs.append((unspaced.group(), True))
            at = unspaced.end()
        if at < len(word):
            runs.append((word[at:], False))
    return runs


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)]


def _folded(text: str) -> str:
    """Lower case, compatible forms made one, accents gone."""
    normal = unicodedata.normalize("NFKC", text).casefold()
    if normal.isascii():
        return normal
    return "".join(
        unicodedata.normalize("NFD", character)[0] if character <= _LAST_ACCENTED else character
        for character in normal
        if not "\u0300" <= character <= "\u036f"
    )
