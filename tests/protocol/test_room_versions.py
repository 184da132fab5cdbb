"""The table of room-version differences, transcribed from the specification once more and compared."""

from __future__ import annotations

import pytest

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.room_versions import (
    DEFAULT_ROOM_VERSION,
    ROOM_VERSIONS,
    EventIdFormat,
    RoomVersion,
    StateResolutionAlgorithm,
    find_room_version,
    get_room_version,
)


def versions_where(is_so: object) -> list[int]:
    assert callable(is_so)
    return [int(identifier) for identifier, version in ROOM_VERSIONS.items() if is_so(version)]


def since(first: int) -> list[int]:
    return list(range(first, 13))


def until(last: int) -> list[int]:
    return list(range(1, last + 1))


def test_all_versions_are_known() -> None:
    assert list(ROOM_VERSIONS) == [str(number) for number in range(1, 13)]
    assert all(version.identifier == identifier for identifier, version in ROOM_VERSIONS.items())
    assert all(version.stable for version in ROOM_VERSIONS.values())
    assert DEFAULT_ROOM_VERSION == "12"
    assert str(get_room_version("9")) == "9"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (lambda v: v.event_format.event_id is EventIdFormat.SERVER_MADE, until(2)),
        (lambda v: v.event_format.event_id is EventIdFormat.HASH, [3]),
        (lambda v: v.event_format.event_id is EventIdFormat.URL_SAFE_HASH, since(4)),
        (lambda v: v.event_format.references_carry_hashes, until(2)),
        (lambda v: v.event_format.room_id_is_create_hash, [12]),
        (lambda v: v.event_format.strict_canonical_json, since(6)),
        (lambda v: v.event_format.max_depth == 2**63 - 1, until(5)),
        (lambda v: v.event_format.max_depth == 2**53 - 1, since(6)),
        (lambda v: v.event_format.redacts_in_content, since(11)),
        (lambda v: v.signing.event_id_server_must_sign, until(2)),
        (lambda v: v.signing.authoriser_server_must_sign, since(8)),
        (lambda v: v.signing.key_validity_enforced, since(5)),
        (lambda v: v.state_resolution.algorithm is StateResolutionAlgorithm.V1, [1]),
        (lambda v: v.state_resolution.considers_conflicted_subgraph, [12]),
        (lambda v: v.state_resolution.starts_from_empty_state, [12]),
        (lambda v: v.auth.redaction_by_level_or_domain, until(2)),
        (lambda v: v.auth.aliases_by_domain, until(5)),
        (lambda v: v.auth.notification_levels_checked, since(6)),
        (lambda v: v.auth.knocking, since(7)),
        (lambda v: v.auth.restricted_joins, since(8)),
        (lambda v: v.auth.knock_restricted_joins, since(10)),
        (lambda v: v.auth.string_power_levels, until(9)),
        (lambda v: v.auth.float_power_levels, until(5)),
        (lambda v: v.auth.integer_power_levels_required, since(10)),
        (lambda v: v.auth.creator_in_content, until(10)),
        (lambda v: v.auth.creators_have_infinite_power, [12]),
        (lambda v: v.auth.create_event_is_selected, until(11)),
    ],
)
def test_flags(rule: object, expected: list[int]) -> None:
    assert versions_where(rule) == expected


@pytest.mark.parametrize("version", ["", "13", "org.example", None, 12, ["12"]])
def test_unknown_versions(version: object) -> None:
    assert find_room_version(version) is None
    with pytest.raises(MatrixError) as caught:
        get_room_version(version)
    assert caught.value.errcode == "M_UNSUPPORTED_ROOM_VERSION"


def test_records_cannot_be_changed() -> None:
    version: RoomVersion = get_room_version("1")
    with pytest.raises(AttributeError):
        version.identifier = "2"  # type: ignore[misc]
    with pytest.raises(TypeError):
        ROOM_VERSIONS["13"] = version  # type: ignore[index]
