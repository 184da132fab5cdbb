"""The value that says no: which rule refused an event, and why, in a sentence for people.
Kept with rejected events, so that "why was this rejected?" has an answer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """`rule` is a stable dotted name for logs and tests, `reason` a clear sentence for users."""

    rule: str
    reason: str

    def __str__(self) -> str:
        return self.reason
