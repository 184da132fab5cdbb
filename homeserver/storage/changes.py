"""What a transaction tells the rest of the process once it is committed.

A change names whom it concerns, never what to do about it: sync, push and federation decide that for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """One committed fact of the log.

    `room_id` concerns every local member of that room; `user_ids` concerns those users whatever room they are in.
    `subject` is what changed: "event", "receipt", "account_data", "to_device", "device_list" or "presence" ....
    """

    position: int
    subject: str
    room_id: str | None = None
    user_ids: tuple[str, ...] = ()
