"""Hypothesis strategies for JSON values."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
canonical_scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts
canonical_values: st.SearchStrategy[Any] = st.recursive(
    canonical_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
any_values: st.SearchStrategy[Any] = st.recursive(
    canonical_scalars | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


def objects_with(*keys: str, values: st.SearchStrategy[Any] = any_values) -> st.SearchStrategy[dict[str, Any]]:
    """Objects in which some of the given keys occur, with any values at all."""
    return st.dictionaries(st.sampled_from(keys), values, max_size=len(keys))
