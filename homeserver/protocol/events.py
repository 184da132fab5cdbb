"""The event: an immutable object around the PDU dict, with what every part of the server asks of it at hand.
Its shape has been checked before (event_format); nothing here parses twice.

Spec: server-server-api #pdus
"""

from __future__ import annotations

from typing import Any, TypeAlias

from homeserver.protocol.event_hashes import event_id_of, room_id_of_create_event_id
from homeserver.protocol.redaction import redact
from homeserver.protocol.room_versions import RoomVersion

StateKey: TypeAlias = tuple[str, str]  # event type, state key


class Event:
    """One event of a room. Nobody changes it, nor the dict it wraps.

    `pdu` is the federation form, unknown keys included; `redacts` is the target of a redaction, wherever the room
    version keeps it; `membership` is set for m.room.member events only; `redacted_because` is the redaction event that
    stripped this copy. Two events are equal when their IDs are.
    """

    __slots__ = (
        "auth_event_ids",
        "content",
        "depth",
        "event_id",
        "is_state",
        "membership",
        "origin_server_ts",
        "pdu",
        "prev_event_ids",
        "redacted_because",
        "redacts",
        "room_id",
        "room_version",
        "sender",
        "state_key",
        "type",
    )

    def __init__(
        self,
        pdu: dict[str, Any],
        room_version: RoomVersion,
        event_id: str | None = None,
        *,
        redacted_because: Event | None = None,
    ) -> None:
        """`pdu` must have passed `check_event_format`; `event_id` spares the hashing when it is known."""
        self.pdu = pdu
        self.room_version = room_version
        self.event_id: str = event_id_of(pdu, room_version) if event_id is None else event_id
        self.type: str = pdu["type"]
        self.sender: str = pdu["sender"]
        self.content: dict[str, Any] = pdu["content"]
        self.state_key: str | None = pdu.get("state_key")
        self.is_state = self.state_key is not None
        self.depth: int = pdu["depth"]
        self.origin_server_ts: int = pdu["origin_server_ts"]
        self.redacted_because = redacted_because
        event_format = room_version.event_format
        if event_format.room_id_is_create_hash and self.type == "m.room.create" and self.state_key == "":
            self.room_id = room_id_of_create_event_id(self.event_id)
        else:
            self.room_id = pdu["room_id"]
        self.prev_event_ids: tuple[str, ...]
        self.auth_event_ids: tuple[str, ...]
        if event_format.references_carry_hashes:
            self.prev_event_ids = tuple([reference[0] for reference in pdu["prev_events"]])
            self.auth_event_ids = tuple([reference[0] for reference in pdu["auth_events"]])
        else:
            self.prev_event_ids = tuple(pdu["prev_events"])
            self.auth_event_ids = tuple(pdu["auth_events"])
        self.redacts: str | None = None
        self.membership: str | None = None
        if self.type == "m.room.redaction":
            target = (self.content if event_format.redacts_in_content else pdu).get("redacts")
            self.redacts = target if isinstance(target, str) else None
        elif self.type == "m.room.member":
            membership = self.content.get("membership")
            self.membership = membership if isinstance(membership, str) else None

    @property
    def unsigned(self) -> dict[str, Any]:
        unsigned = self.pdu.get("unsigned")
        return unsigned if isinstance(unsigned, dict) else {}

    @property
    def key(self) -> StateKey:
        """The entry of the room state that this state event sets. Raises ValueError for a message event."""
        if self.state_key is None:
            raise ValueError(f"{self.event_id} is not a state event")
        return (self.type, self.state_key)

    @property
    def is_redacted(self) -> bool:
        """Whether this copy is known to have been stripped by a redaction."""
        return self.redacted_because is not None

    def redacted(self, because: Event | None = None) -> Event:
        """The same event, stripped to what its room version protects."""
        return Event(redact(self.pdu, self.room_version), self.room_version, self.event_id, redacted_because=because)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and other.event_id == self.event_id

    def __hash__(self) -> int:
        return hash(self.event_id)

    def __repr__(self) -> str:
        entry = f" {self.state_key!r}" if self.is_state else ""
        return f"<{self.type}{entry} {self.event_id} by {self.sender}>"
