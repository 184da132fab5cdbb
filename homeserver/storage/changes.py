"""What a transaction tells the rest of the process once it is committed.

A change names whom it concerns, never what to do about it: sync, push and federation decide that for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """One committed fact of the log.

    `subject` is what changed: "event", "receipt", "account_data", "to_device", "device_list" ....
    `room_id` concerns every local member of that room; `user_ids` concerns those users whatever room they are in.
    `detail` is the fact itself where the writer had it at hand, so that this process need not read it back.
    """

    position: int
    subject: str
    room_id: str | None = None
    user_ids: tuple[str, ...] = ()
    detail: Any = None
