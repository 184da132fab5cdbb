"""Request bodies that several endpoints share, and small checks of what they hold.

Unknown keys are ignored, as the specification asks.
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.protocol.errors import bad_json


class Reason(msgspec.Struct):
    """A body with nothing but a reason, if that."""

    reason: str | None = None


class UserAndReason(msgspec.Struct):
    """Whom something is done to, and why."""

    user_id: str
    reason: str | None = None


def check_object(value: Any, name: str) -> dict[str, Any]:
    """`value` if it is a JSON object. Raises M_BAD_JSON."""
    if not isinstance(value, dict):
        raise bad_json(f"`{name}` must be an object.")
    return value
