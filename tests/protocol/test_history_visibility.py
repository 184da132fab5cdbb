from __future__ import annotations

import pytest

from homeserver.protocol.history_visibility import can_see, can_server_see, history_visibility_of

MEMBERSHIPS = [None, "invite", "join", "leave", "ban", "knock"]


def sees(visibility: str, membership: str | None, *, now: str | None = None, since: bool = False) -> bool:
    return can_see((visibility, visibility), (membership, membership), current_membership=now, joined_since=since)


@pytest.mark.parametrize("membership", MEMBERSHIPS)
def test_rules(membership: str | None) -> None:
    assert sees("world_readable", membership)
    assert sees("shared", membership) is (membership == "join")
    assert sees("shared", membership, since=True)
    assert sees("shared", membership, now="join")
    assert sees("shared", membership, now="leave") is (membership == "join")
    assert sees("shared", membership, now="invite") is (membership == "join")
    assert sees("invited", membership, now="join", since=True) is (membership in {"join", "invite"})
    assert sees("joined", membership, now="join", since=True) is (membership == "join")


def test_visibility_changes_are_seen_by_either_side() -> None:
    stranger = (None, None)
    assert can_see(("world_readable", "joined"), stranger)
    assert can_see(("joined", "world_readable"), stranger)
    assert not can_see(("shared", "joined"), stranger)
    assert can_see(("joined", "shared"), stranger, joined_since=True)


def test_own_membership_changes_are_seen_by_either_side() -> None:
    hidden = ("joined", "joined")
    assert can_see(hidden, ("leave", "join"))
    assert can_see(hidden, ("join", "leave"))
    assert can_see(hidden, (None, "join"))
    assert not can_see(hidden, ("invite", "leave"))
    assert can_see(("invited", "invited"), ("invite", "leave"))
    assert not can_see(("shared", "shared"), ("invite", "leave"))


def test_default_visibility() -> None:
    assert history_visibility_of(None) == "shared"
    for value in (None, 5, "unheard-of", [], {}):
        assert history_visibility_of({"history_visibility": value}) == "shared"
    for value in ("world_readable", "shared", "invited", "joined"):
        assert history_visibility_of({"history_visibility": value}) == value


def test_servers() -> None:
    def sees(visibility: str, joined: bool, invited: bool) -> bool:
        return can_server_see((visibility, visibility), had_joined_user=joined, had_invited_user=invited)

    for visibility in ("world_readable", "shared"):
        assert sees(visibility, False, False)
    assert sees("invited", False, True)
    assert sees("joined", True, False)
    assert not sees("invited", False, False)
    assert not sees("joined", False, True)
    assert can_server_see(("shared", "joined"), had_joined_user=False, had_invited_user=False)
