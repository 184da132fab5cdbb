"""From a draft to a signed event: selects the auth events, fills in references and depth, hashes and signs.

Spec: server-server-api #auth-events-selection, #adding-hashes-and-signatures-to-outgoing-events
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from homeserver.protocol.event_hashes import hash_and_sign, reference_hash_base64
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.room_versions import EventIdFormat, RoomVersion
from homeserver.protocol.signing import SigningKey

_CREATE: StateKey = ("m.room.create", "")
_POWER_LEVELS: StateKey = ("m.room.power_levels", "")
_JOIN_RULES: StateKey = ("m.room.join_rules", "")


@dataclass(frozen=True, slots=True)
class EventDraft:
    """What someone wants to say. `room_id` is None only for the create event of a room whose ID is its hash."""

    room_id: str | None
    type: str
    sender: str
    content: dict[str, Any]
    state_key: str | None = None
    redacts: str | None = None
    unsigned: Mapping[str, Any] | None = None


class PrevEvent(NamedTuple):
    """What building on an event needs to know of it; `sha256` is its reference hash, for room versions 1 and 2."""

    event_id: str
    depth: int
    sha256: str = ""


class DescribesEvent(Protocol):
    """An event, or the draft of one."""

    @property
    def type(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def state_key(self) -> str | None: ...
    @property
    def content(self) -> dict[str, Any]: ...


def auth_state_keys(event: DescribesEvent, room_version: RoomVersion) -> list[StateKey]:
    """The entries of the room state that decide on the event; those that exist become its auth events."""
    if event.type == "m.room.create":
        return []
    keys: list[StateKey] = [_POWER_LEVELS, ("m.room.member", event.sender)]
    if room_version.auth.create_event_is_selected:
        keys.insert(0, _CREATE)
    if event.type == "m.room.member" and event.state_key is not None:
        _add_keys_of_member_event(keys, event, event.state_key, room_version)
    return keys


def build_event(
    draft: EventDraft,
    room_version: RoomVersion,
    *,
    prev_events: Sequence[Event | PrevEvent],
    auth_events: Sequence[Event],
    origin_server_ts: int,
    server_name: str,
    signing_key: SigningKey,
    event_localpart: str = "",
) -> Event:
    """The complete event: hashed, signed by `server_name`, and identified.

    `event_localpart` makes the event ID in room versions 1 and 2. Raises CanonicalJsonError when the content has no
    canonical form; sizes are not checked here.
    """
    pdu = build_pdu(
        draft,
        room_version,
        prev_events=prev_events,
        auth_events=auth_events,
        origin_server_ts=origin_server_ts,
    )
    if room_version.event_format.event_id is EventIdFormat.SERVER_MADE:
        pdu["event_id"] = f"${event_localpart}:{server_name}"
    signed, event_id = hash_and_sign(pdu, room_version, server_name, signing_key)
    return Event(signed, room_version, event_id)


def build_pdu(
    draft: EventDraft,
    room_version: RoomVersion,
    *,
    prev_events: Sequence[Event | PrevEvent],
    auth_events: Sequence[Event],
    origin_server_ts: int,
) -> dict[str, Any]:
    """The PDU before it is hashed and signed, as handed to another server by make_join and its like."""
    event_format = room_version.event_format
    depth = max((event.depth for event in prev_events), default=0) + 1
    pdu: dict[str, Any] = {
        "auth_events": _references(auth_events, room_version),
        "content": draft.content,
        "depth": min(depth, event_format.max_depth),
        "origin_server_ts": origin_server_ts,
        "prev_events": _references(prev_events, room_version),
        "sender": draft.sender,
        "type": draft.type,
    }
    if draft.room_id is not None:
        pdu["room_id"] = draft.room_id
    if draft.state_key is not None:
        pdu["state_key"] = draft.state_key
    if draft.redacts is not None:
        if event_format.redacts_in_content:
            pdu["content"] = {**draft.content, "redacts": draft.redacts}
        else:
            pdu["redacts"] = draft.redacts
    if draft.unsigned:
        pdu["unsigned"] = dict(draft.unsigned)
    return pdu


def _add_keys_of_member_event(
    keys: list[StateKey], event: DescribesEvent, target: str, room_version: RoomVersion
) -> None:
    content = event.content
    membership = content.get("membership")
    if target != event.sender:
        keys.append(("m.room.member", target))
    if isinstance(membership, str) and membership in {"join", "invite", "knock"}:
        keys.append(_JOIN_RULES)
    if membership == "invite":
        token = _third_party_invite_token(content)
        if token is not None:
            keys.append(("m.room.third_party_invite", token))
    if membership == "join" and room_version.auth.restricted_joins:
        authoriser = content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str) and ("m.room.member", authoriser) not in keys:
            keys.append(("m.room.member", authoriser))


def _third_party_invite_token(content: Mapping[str, Any]) -> str | None:
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    token = signed.get("token") if isinstance(signed, dict) else None
    return token if isinstance(token, str) else None


def _references(events: Iterable[Event | PrevEvent], room_version: RoomVersion) -> list[Any]:
    if not room_version.event_format.references_carry_hashes:
        return [event.event_id for event in events]
    return [[event.event_id, {"sha256": _reference_hash(event, room_version)}] for event in events]


def _reference_hash(event: Event | PrevEvent, room_version: RoomVersion) -> str:
    return event.sha256 if isinstance(event, PrevEvent) else reference_hash_base64(event.pdu, room_version)
