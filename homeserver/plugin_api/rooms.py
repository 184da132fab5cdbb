"""What plugins see of rooms: a look at one, and what somebody wants to make of a new one.
Reading goes through the server's caches; nothing here writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from homeserver.protocol.events import Event


class RoomView(Protocol):
    """A room as it is now."""

    @property
    def room_id(self) -> str: ...

    @property
    def version(self) -> str:
        """The room version's identifier."""

    @property
    def joined_count(self) -> int: ...

    @property
    def local_members(self) -> Mapping[str, str]:
        """Users of this server who are joined, invited or knocking, with their membership."""

    async def find_state(self, event_type: str, state_key: str = "") -> Event | None:
        """The event that holds an entry of the room's state."""

    async def load_state(self) -> list[Event]:
        """All current state; in a large room that is a lot."""


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """A room somebody asks for. `alias_localpart` is the part of the alias between # and the server name."""

    creator: str
    version: str | None = None
    preset: str | None = None
    public: bool = False
    name: str | None = None
    topic: str | None = None
    alias_localpart: str | None = None
    invite: Sequence[str] = ()
    is_direct: bool = False
    creation_content: Mapping[str, Any] = field(default_factory=dict)
    initial_state: Sequence[Mapping[str, Any]] = ()
