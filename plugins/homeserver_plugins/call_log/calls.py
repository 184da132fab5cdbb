"""What is known of one call, and what became of it for each of those concerned. Pure.
A call is one of two people (`m.call.*`) or a session of MatrixRTC; times are the events' own, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MOST_PEOPLE = 200


@dataclass
class Stay:
    """Somebody in a call: since when, until when (None: still), and when their membership lapses unrenewed."""

    since_ms: int
    until_ms: int | None = None
    lapses_ms: int | None = None

    def end_ms(self, now_ms: int) -> int | None:
        """When it ended; None if it has not."""
        if self.until_ms is not None:
            return self.until_ms
        return self.lapses_ms if self.lapses_ms is not None and self.lapses_ms <= now_ms else None


@dataclass
class Call:
    """One call. `kind` is "call" or "session"; `lapses_ms` is when an unanswered call stops ringing."""

    call_id: str
    room_id: str
    kind: str
    caller: str
    started_ms: int
    is_video: bool = False
    lapses_ms: int | None = None
    answered_ms: int | None = None
    ended_ms: int | None = None
    stays: dict[str, Stay] = field(default_factory=dict)
    declined: list[str] = field(default_factory=list)
    devices: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Call:
        """From what `as_json` made."""
        stays = {user_id: Stay(**stay) for user_id, stay in raw["stays"].items()}
        return cls(**{**raw, "stays": stays})

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def enter(self, user_id: str, now_ms: int, lapses_ms: int | None = None) -> None:
        """Somebody takes part from now on; who was there before goes on with their stay."""
        stay = self.stays.get(user_id)
        if stay is not None:
            stay.until_ms, stay.lapses_ms = None, lapses_ms
        elif len(self.stays) < MOST_PEOPLE:
            self.stays[user_id] = Stay(now_ms, None, lapses_ms)

    def leave(self, user_id: str, now_ms: int) -> None:
        stay = self.stays.get(user_id)
        if stay is not None and stay.until_ms is None:
            stay.until_ms = max(now_ms, stay.since_ms)

    def end(self, now_ms: int) -> None:
        """Nobody is in it any more."""
        self.ended_ms = max(now_ms, self.started_ms)
        for user_id in self.stays:
            self.leave(user_id, now_ms)

    def decline(self, user_id: str) -> None:
        if user_id not in self.declined and len(self.declined) < MOST_PEOPLE:
            self.declined.append(user_id)

    def end_ms(self, now_ms: int) -> int | None:
        """When it ended, also by everybody's membership having lapsed, or by nobody having answered."""
        if self.ended_ms is not None:
            return self.ended_ms
        if self.kind == "call" and self.answered_ms is None:
            return self.lapses_ms if self.lapses_ms is not None and self.lapses_ms <= now_ms else None
        ends = [stay.end_ms(now_ms) for stay in self.stays.values()]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None

    def outcome_for(self, user_id: str, now_ms: int) -> str:
        """ringing, ongoing, completed, missed, declined, answered_by_other, cancelled or unanswered."""
        is_over = self.end_ms(now_ms) is not None
        if self.kind == "call" and user_id == self.caller:
            return self._outcome_for_caller(now_ms)
        if user_id in self.stays:
            return "ongoing" if not is_over and self.stays[user_id].end_ms(now_ms) is None else "completed"
        if user_id in self.declined:
            return "declined"
        if self.kind == "call" and self.answered_ms is not None:
            return "answered_by_other"
        return "missed" if is_over else "ringing"

    def _outcome_for_caller(self, now_ms: int) -> str:
        is_over = self.end_ms(now_ms) is not None
        if self.answered_ms is not None:
            return "completed" if is_over else "ongoing"
        if self.declined:
            return "declined"
        if not is_over:
            return "ringing"
        return "cancelled" if self.ended_ms is not None and not self._rang_out else "unanswered"

    @property
    def _rang_out(self) -> bool:
        return self.lapses_ms is not None and self.ended_ms is not None and self.ended_ms >= self.lapses_ms

    def duration_for(self, user_id: str, now_ms: int) -> int | None:
        """How long somebody was in it, up to now if they still are; None if they never were."""
        stay = self.stays.get(user_id)
        if stay is None:
            return None
        end_ms = stay.end_ms(now_ms)
        return (now_ms if end_ms is None else end_ms) - stay.since_ms

    def entry_for(self, user_id: str, now_ms: int) -> dict[str, Any]:
        """What one of those concerned is shown."""
        entry: dict[str, Any] = {
            "id": self.call_id,
            "room_id": self.room_id,
            "kind": self.kind,
            "video": self.is_video,
            "direction": "outgoing" if user_id == self.caller else "incoming",
            "caller": self.caller,
            "participants": sorted(self.stays),
            "started_ts": self.started_ms,
            "outcome": self.outcome_for(user_id, now_ms),
        }
        end_ms, duration = self.end_ms(now_ms), self.duration_for(user_id, now_ms)
        if end_ms is not None:
            entry["ended_ts"] = end_ms
        if duration is not None:
            entry["duration_ms"] = duration
        return entry
