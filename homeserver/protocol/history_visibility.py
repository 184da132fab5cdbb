"""Who may see an event, by the room's history visibility and the user's membership at that event.

Spec: client-server-api #room-history-visibility
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

HISTORY_VISIBILITIES: Final = frozenset({"world_readable", "shared", "invited", "joined"})
DEFAULT_HISTORY_VISIBILITY: Final = "shared"


def history_visibility_of(content: Mapping[str, Any] | None) -> str:
    """The visibility an m.room.history_visibility content sets; `shared` without one, or when it is not understood."""
    visibility = None if content is None else content.get("history_visibility")
    if isinstance(visibility, str) and visibility in HISTORY_VISIBILITIES:
        return visibility
    return DEFAULT_HISTORY_VISIBILITY


def can_see(
    event_visibility: tuple[str, str],
    event_membership: tuple[str | None, str | None],
    *,
    current_membership: str | None = None,
    joined_since: bool = False,
) -> bool:
    """Whether a user may see an event.

    `event_visibility`: the room's history visibility before and after the event; the two differ only when the event
    is itself an m.room.history_visibility event.
    `event_membership`: the user's membership before and after the event, None for never having had one; the two
    differ only when the event is that user's own m.room.member event.
    `current_membership`: the user's membership now. `joined_since`: whether the user joined at any point after the
    event was sent, even if they have left again; being joined now implies having been joined then or since.

    Someone who has left therefore keeps seeing what was sent until they left, and nothing sent later, except in
    `world_readable` rooms. Someone who only ever had an invite sees events from the invite on where the visibility
    is `invited`, and the invite itself, but nothing once the invite is gone.
    """
    was_or_is_joined_later = joined_since or current_membership == "join"
    return any(
        _allows(visibility, membership, was_or_is_joined_later)
        for visibility in set(event_visibility)
        for membership in set(event_membership)
    )


def _allows(visibility: str, membership: str | None, joined_since: bool) -> bool:
    # 1
    if visibility == "world_readable":
        return True
    # 2
    if membership == "join":
        return True
    # 3
    if visibility == "shared" and joined_since:
        return True
    # 4, 5
    return visibility == "invited" and membership == "invite"


def can_server_see(event_visibility: tuple[str, str], *, had_joined_user: bool, had_invited_user: bool) -> bool:
    """Whether a server in the room may be given an event, for the sake of the users it had at that event.

    Under `world_readable` and `shared` any server in the room may have it: its users may join later.
    """
    return any(
        visibility in {"world_readable", "shared"} or had_joined_user or (visibility == "invited" and had_invited_user)
        for visibility in event_visibility
    )
