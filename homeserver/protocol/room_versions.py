"""The room versions as data: frozen records of rules, each version being the previous one plus its differences.
No other module compares versions; algorithms ask for the rule they need.

Spec: rooms
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from homeserver.protocol.errors import unsupported_room_version


class EventIdFormat(Enum):
    SERVER_MADE = "server_made"  # `$opaque:domain`, chosen by the sending server
    HASH = "hash"  # reference hash in standard Base64
    URL_SAFE_HASH = "url_safe_hash"  # reference hash in URL-safe Base64


class StateResolutionAlgorithm(Enum):
    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True, slots=True, eq=False)
class EventFormat:
    """How a PDU looks on the wire, and what its identifiers are."""

    event_id: EventIdFormat
    references_carry_hashes: bool  # prev_events and auth_events are [id, {"sha256": hash}] pairs
    max_depth: int
    strict_canonical_json: bool
    redacts_in_content: bool
    room_id_is_create_hash: bool


@dataclass(frozen=True, slots=True, eq=False)
class SigningRules:
    """Whose signatures an event needs, and with which keys."""

    event_id_server_must_sign: bool
    authoriser_server_must_sign: bool
    key_validity_enforced: bool


@dataclass(frozen=True, slots=True, eq=False)
class RedactionRules:
    """What survives the redaction of an event."""

    top_level: frozenset[str]
    content: Mapping[str, frozenset[str]]
    whole_create_content: bool
    signed_third_party_invite: bool


@dataclass(frozen=True, slots=True, eq=False)
class AuthRules:
    """The switches in the authorisation rules."""

    creator_in_content: bool  # the create event must name its `creator`; later the sender is the creator
    creators_have_infinite_power: bool  # and `additional_creators` counts
    create_event_is_selected: bool  # as an auth event; later the room ID implies it
    aliases_by_domain: bool
    redaction_by_level_or_domain: bool
    notification_levels_checked: bool
    knocking: bool
    restricted_joins: bool
    knock_restricted_joins: bool
    string_power_levels: bool
    float_power_levels: bool
    integer_power_levels_required: bool


@dataclass(frozen=True, slots=True, eq=False)
class StateResolutionRules:
    algorithm: StateResolutionAlgorithm
    considers_conflicted_subgraph: bool
    starts_from_empty_state: bool


@dataclass(frozen=True, slots=True, eq=False)
class RoomVersion:
    """All rules of one room version. Compare records by identity."""

    identifier: str
    event_format: EventFormat
    signing: SigningRules
    redaction: RedactionRules
    auth: AuthRules
    state_resolution: StateResolutionRules
    stable: bool = True

    def __str__(self) -> str:
        return self.identifier

    def __repr__(self) -> str:
        return f"<room version {self.identifier}>"


def _content_rules(rules: Mapping[str, frozenset[str]], **changed: frozenset[str]) -> Mapping[str, frozenset[str]]:
    """The rules with those of `m.room.<name>` exchanged; an empty set removes the type."""
    merged = {**rules, **{f"m.room.{name}": keys for name, keys in changed.items()}}
    return MappingProxyType({event_type: keys for event_type, keys in merged.items() if keys})


_POWER_LEVEL_KEYS = frozenset(
    {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
)

V1: Final = RoomVersion(
    identifier="1",
    event_format=EventFormat(
        event_id=EventIdFormat.SERVER_MADE,
        references_carry_hashes=True,
        max_depth=2**63 - 1,
        strict_canonical_json=False,
        redacts_in_content=False,
        room_id_is_create_hash=False,
    ),
    signing=SigningRules(
        event_id_server_must_sign=True, authoriser_server_must_sign=False, key_validity_enforced=False
    ),
    redaction=RedactionRules(
        top_level=frozenset(
            {
                "auth_events",
                "content",
                "depth",
                "event_id",
                "hashes",
                "membership",
                "origin",
                "origin_server_ts",
                "prev_events",
                "prev_state",
                "room_id",
                "sender",
                "signatures",
                "state_key",
                "type",
            }
        ),
        content=_content_rules(
            {},
            member=frozenset({"membership"}),
            create=frozenset({"creator"}),
            join_rules=frozenset({"join_rule"}),
            power_levels=_POWER_LEVEL_KEYS,
            aliases=frozenset({"aliases"}),
            history_visibility=frozenset({"history_visibility"}),
        ),
        whole_create_content=False,
        signed_third_party_invite=False,
    ),
    auth=AuthRules(
        creator_in_content=True,
        creators_have_infinite_power=False,
        create_event_is_selected=True,
        aliases_by_domain=True,
        redaction_by_level_or_domain=True,
        notification_levels_checked=False,
        knocking=False,
        restricted_joins=False,
        knock_restricted_joins=False,
        string_power_levels=True,
        float_power_levels=True,
        integer_power_levels_required=False,
    ),
    state_resolution=StateResolutionRules(
        algorithm=StateResolutionAlgorithm.V1, considers_conflicted_subgraph=False, starts_from_empty_state=False
    ),
)

V2: Final = replace(
    V1, identifier="2", state_resolution=replace(V1.state_resolution, algorithm=StateResolutionAlgorithm.V2)
)

V3: Final = replace(
    V2,
    identifier="3",
    event_format=replace(V2.event_format, event_id=EventIdFormat.HASH, references_carry_hashes=False),
    signing=replace(V2.signing, event_id_server_must_sign=False),
    auth=replace(V2.auth, redaction_by_level_or_domain=False),
)

V4: Final = replace(V3, identifier="4", event_format=replace(V3.event_format, event_id=EventIdFormat.URL_SAFE_HASH))

V5: Final = replace(V4, identifier="5", signing=replace(V4.signing, key_validity_enforced=True))

V6: Final = replace(
    V5,
    identifier="6",
    event_format=replace(V5.event_format, max_depth=2**53 - 1, strict_canonical_json=True),
    redaction=replace(V5.redaction, content=_content_rules(V5.redaction.content, aliases=frozenset())),
    auth=replace(V5.auth, aliases_by_domain=False, notification_levels_checked=True, float_power_levels=False),
)

V7: Final = replace(V6, identifier="7", auth=replace(V6.auth, knocking=True))

V8: Final = replace(
    V7,
    identifier="8",
    signing=replace(V7.signing, authoriser_server_must_sign=True),
    redaction=replace(
        V7.redaction, content=_content_rules(V7.redaction.content, join_rules=frozenset({"join_rule", "allow"}))
    ),
    auth=replace(V7.auth, restricted_joins=True),
)

V9: Final = replace(
    V8,
    identifier="9",
    redaction=replace(
        V8.redaction,
        content=_content_rules(
            V8.redaction.content, member=frozenset({"membership", "join_authorised_via_users_server"})
        ),
    ),
)

V10: Final = replace(
    V9,
    identifier="10",
    auth=replace(V9.auth, knock_restricted_joins=True, string_power_levels=False, integer_power_levels_required=True),
)

V11: Final = replace(
    V10,
    identifier="11",
    event_format=replace(V10.event_format, redacts_in_content=True),
    redaction=RedactionRules(
        top_level=V10.redaction.top_level - {"membership", "origin", "prev_state"},
        content=_content_rules(
            V10.redaction.content,
            create=frozenset(),
            power_levels=_POWER_LEVEL_KEYS | {"invite"},
            redaction=frozenset({"redacts"}),
        ),
        whole_create_content=True,
        signed_third_party_invite=True,
    ),
    auth=replace(V10.auth, creator_in_content=False),
)

V12: Final = replace(
    V11,
    identifier="12",
    event_format=replace(V11.event_format, room_id_is_create_hash=True),
    auth=replace(V11.auth, creators_have_infinite_power=True, create_event_is_selected=False),
    state_resolution=replace(V11.state_resolution, considers_conflicted_subgraph=True, starts_from_empty_state=True),
)

ROOM_VERSIONS: Final[Mapping[str, RoomVersion]] = MappingProxyType(
    {version.identifier: version for version in (V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12)}
)
DEFAULT_ROOM_VERSION: Final = "12"


def find_room_version(version: object) -> RoomVersion | None:
    return ROOM_VERSIONS.get(version) if isinstance(version, str) else None


def get_room_version(version: object) -> RoomVersion:
    """The rules of a version; raises M_UNSUPPORTED_ROOM_VERSION when this server does not know it."""
    found = find_room_version(version)
    if found is None:
        raise unsupported_room_version(version)
    return found
