"""Which state of a room a client asks for, and how the wishes of several lists and subscriptions add up.

Spec: MSC4186, `RequiredStateRequest` and "Combining room configs"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from homeserver.protocol.events import StateKey
from homeserver.services.rooms.room import MEMBER

# Type and state key; None stands for any.
Pattern = tuple[str | None, str | None]


class StateSelection(NamedTuple):
    """One wish. With `lazy_members` an open state key means no members: they come when the timeline needs them."""

    include: frozenset[Pattern] = frozenset()
    exclude: frozenset[Pattern] = frozenset()
    lazy_members: bool = False

    def matches(self, key: StateKey) -> bool:
        """Whether this wish alone asks for a state entry."""
        return any(self._includes(pattern, key) for pattern in self.include) and not any(
            _fits(pattern, key) for pattern in self.exclude
        )

    def _includes(self, pattern: Pattern, key: StateKey) -> bool:
        if self.lazy_members and pattern[1] is None and key[0] == MEMBER:
            return False
        return _fits(pattern, key)

    @property
    def has_all_members(self) -> bool:
        """Whether every member event is asked for."""
        return not self.lazy_members and any(
            event_type in {None, MEMBER} and state_key is None for event_type, state_key in self.include
        )


class RequiredState:
    """State that at least one of several wishes asks for."""

    __slots__ = ("_any_type", "_exact", "_types", "lazy_members", "selections")

    def __init__(self, selections: frozenset[StateSelection]) -> None:
        self.selections = selections
        all_members = any(selection.has_all_members for selection in selections)
        self.lazy_members = any(selection.lazy_members for selection in selections) and not all_members
        patterns = {pattern for selection in selections for pattern in selection.include}
        self._exact = {(kind, key) for kind, key in patterns if kind is not None and key is not None}
        self._types = frozenset(kind for kind, key in patterns if kind is not None and key is None)
        self._any_type = any(kind is None for kind, _ in patterns)

    def matches(self, key: StateKey) -> bool:
        """Whether a state entry is asked for."""
        return any(selection.matches(key) for selection in self.selections)

    def of(self, state: Mapping[StateKey, str]) -> dict[StateKey, str]:
        """The entries of a state that are asked for."""
        found = {key: state[key] for key in self._exact if key in state and self.matches(key)}
        if self._any_type or self._types:
            found |= {
                key: event_id
                for key, event_id in state.items()
                if (self._any_type or key[0] in self._types) and self.matches(key)
            }
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RequiredState) and other.selections == self.selections

    def __hash__(self) -> int:
        return hash(self.selections)

    def to_json(self) -> list[Any]:
        """As a connection is stored."""
        return [
            [sorted(selection.include, key=repr), sorted(selection.exclude, key=repr), selection.lazy_members]
            for selection in self.selections
        ]


@lru_cache(maxsize=2_000)
def required_state(selections: frozenset[StateSelection]) -> RequiredState:
    """The same object for the same wishes, of which clients have few."""
    return RequiredState(selections)


def combined(wishes: Iterable[RequiredState]) -> RequiredState:
    """What asks for everything that any of `wishes` asks for."""
    return required_state(frozenset(selection for wish in wishes for selection in wish.selections))


def required_state_from_json(stored: list[Any]) -> RequiredState:
    """The inverse of `to_json`."""
    return required_state(
        frozenset(
            StateSelection(
                frozenset((kind, key) for kind, key in include), frozenset((kind, key) for kind, key in exclude), lazy
            )
            for include, exclude, lazy in stored
        )
    )


def _fits(pattern: Pattern, key: StateKey) -> bool:
    event_type, state_key = pattern
    return (event_type is None or event_type == key[0]) and (state_key is None or state_key == key[1])
