"""The membership rules, version by version, in rooms built event by event."""

from __future__ import annotations

from typing import Any

import pytest
from protocol.room_builder import ALICE, BOB, CAROL, DAVE, KEY, RoomBuilder, new_room

from homeserver.protocol.event_auth import authorise
from homeserver.protocol.room_versions import ROOM_VERSIONS
from homeserver.protocol.signing import SigningKey, sign_json

ALL = list(ROOM_VERSIONS)


def versions_since(first: int) -> list[str]:
    return [version for version in ALL if int(version) >= first]


def versions_before(first: int) -> list[str]:
    return [version for version in ALL if int(version) < first]


@pytest.mark.parametrize("version", ALL)
class TestJoin:
    def test_first_join_is_the_creators(self, version: str) -> None:
        room = RoomBuilder(version)
        room.send("m.room.create", ALICE, {"creator": ALICE}, "")
        assert room.member_refusal(BOB, "join") == "member.join.not_invited"
        assert room.member_refusal(ALICE, "join") is None

    def test_first_join_only_right_after_the_create_event(self, version: str) -> None:
        room = RoomBuilder(version)
        create = room.send("m.room.create", ALICE, {"creator": ALICE}, "")
        room.tips = [create, create]
        assert room.member_refusal(ALICE, "join") == "member.join.not_invited"

    def test_who_is_the_creator(self, version: str) -> None:
        room = RoomBuilder(version)
        room.send("m.room.create", ALICE, {"creator": "@other:one"}, "")
        is_sender = version in {"11", "12"}
        assert room.member_refusal(ALICE, "join") == (None if is_sender else "member.join.not_invited")
        assert room.member_refusal("@other:one", "join") == ("member.join.not_invited" if is_sender else None)

    def test_public(self, version: str) -> None:
        room = new_room(version, join_rule="public")
        assert room.member_refusal(BOB, "join") is None
        assert room.member_refusal(BOB, "join", sender=ALICE) == "member.join.other"
        room.member(BOB, "ban", ALICE)
        assert room.member_refusal(BOB, "join") == "member.join.banned"

    def test_invite_only(self, version: str) -> None:
        room = new_room(version, join_rule="invite")
        assert room.member_refusal(BOB, "join") == "member.join.not_invited"
        room.member(BOB, "invite", ALICE)
        room.member(BOB, "join")
        assert room.member_refusal(BOB, "join", displayname="Bobby") is None

    @pytest.mark.parametrize("rule", ["private", "unheard-of", None, 5, ["public"]])
    def test_unknown_join_rules_let_nobody_in(self, version: str, rule: Any) -> None:
        room = new_room(version, join_rule=rule)
        room.member(BOB, "invite", ALICE)
        assert room.member_refusal(BOB, "join") == "member.join.join_rule"

    def test_room_without_join_rules_is_for_the_invited(self, version: str) -> None:
        room = new_room(version)
        del room.state["m.room.join_rules", ""]
        assert room.member_refusal(BOB, "join") == "member.join.not_invited"


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(("rule", "since"), [("knock", 7), ("restricted", 8), ("knock_restricted", 10)])
def test_newer_join_rules_admit_the_invited(version: str, rule: str, since: int) -> None:
    room = new_room(version, join_rule=rule)
    expected = {
        "knock": "member.join.not_invited", "restricted": "member.join.restricted",
        "knock_restricted": "member.join.restricted",
    }[rule]  # fmt: skip
    is_known = int(version) >= since
    assert room.member_refusal(BOB, "join") == (expected if is_known else "member.join.join_rule")
    room.member(BOB, "invite", ALICE)
    assert room.member_refusal(BOB, "join") == (None if is_known else "member.join.join_rule")


@pytest.mark.parametrize("version", versions_since(8))
class TestRestrictedJoin:
    def test_authorised_by_a_member_who_may_invite(self, version: str) -> None:
        room = new_room(version, join_rule="restricted")
        assert room.member_refusal(BOB, "join", join_authorised_via_users_server=ALICE) is None
        assert room.member_refusal(BOB, "join", join_authorised_via_users_server=CAROL) == "member.join.authoriser"
        assert room.member_refusal(BOB, "join", join_authorised_via_users_server=5) == "member.authoriser_signature"
        room.member(CAROL, "join", join_authorised_via_users_server=ALICE)
        assert room.member_refusal(BOB, "join", join_authorised_via_users_server=CAROL) is None
        room.power(ALICE, {} if version == "12" else {ALICE: 100}, invite=50)
        assert room.member_refusal(BOB, "join", join_authorised_via_users_server=CAROL) == "member.join.authoriser"

    def test_signature_of_the_authorisers_server(self, version: str) -> None:
        room = new_room(version, join_rule="restricted")
        content = {"membership": "join", "join_authorised_via_users_server": ALICE}
        join = room.make("m.room.member", CAROL, content, CAROL)
        asked: list[str] = []

        def signed_by(server_name: str) -> bool:
            asked.append(server_name)
            return False

        refused = authorise(join, room.state, room.create, signed_by_authoriser=signed_by)
        assert refused is not None
        assert refused.rule == "member.authoriser_signature"
        assert asked == ["one"]
        assert authorise(join, room.state, room.create, signed_by_authoriser=lambda _: True) is None
        assert authorise(join, room.state, room.create, signed_by_authoriser=False) is not None

    def test_the_key_is_checked_for_any_membership(self, version: str) -> None:
        room = new_room(version)
        content = {"membership": "leave", "join_authorised_via_users_server": ALICE}
        leave = room.make("m.room.member", ALICE, content, ALICE)
        refused = authorise(leave, room.state, room.create, signed_by_authoriser=False)
        assert refused is not None
        assert refused.rule == "member.authoriser_signature"


@pytest.mark.parametrize("version", versions_before(8))
def test_older_rooms_ignore_the_authoriser(version: str) -> None:
    room = new_room(version)
    content = {"membership": "join", "join_authorised_via_users_server": 5}
    join = room.make("m.room.member", BOB, content, BOB)
    assert authorise(join, room.state, room.create, signed_by_authoriser=False) is None


@pytest.mark.parametrize("version", ALL)
class TestInvite:
    def test_by_a_member_with_the_power(self, version: str) -> None:
        room = new_room(version)
        assert room.member_refusal(CAROL, "invite", ALICE) is None
        assert room.member_refusal(CAROL, "invite", BOB) == "member.sender_not_joined"
        room.member(BOB, "join")
        assert room.member_refusal(CAROL, "invite", BOB) is None
        room.power(ALICE, {} if version == "12" else {ALICE: 100}, invite=1)
        assert room.member_refusal(CAROL, "invite", BOB) == "member.invite.power"
        assert room.member_refusal(BOB, "invite", ALICE) == "member.invite.joined"
        room.member(BOB, "ban", ALICE)
        assert room.member_refusal(BOB, "invite", ALICE) == "member.invite.banned"

    def test_again(self, version: str) -> None:
        room = new_room(version)
        room.member(BOB, "invite", ALICE)
        assert room.member_refusal(BOB, "invite", ALICE) is None


@pytest.mark.parametrize("version", ALL)
class TestThirdPartyInvite:
    identity_server = SigningKey("0", bytes(32))

    def room(self, version: str, **content: Any) -> RoomBuilder:
        room = new_room(version)
        keys = content or {"public_key": self.identity_server.verify_key_base64}
        room.send("m.room.third_party_invite", ALICE, {"display_name": "B", **keys}, "token")
        return room

    def signed(self, mxid: object = BOB, token: object = "token") -> dict[str, Any]:
        return sign_json({"mxid": mxid, "token": token}, "id.server", self.identity_server)

    def refusal(self, room: RoomBuilder, invite: object, sender: str = ALICE) -> str | None:
        return room.member_refusal(BOB, "invite", sender, third_party_invite=invite)

    def test_signed_by_a_key_of_the_room(self, version: str) -> None:
        assert self.refusal(self.room(version), {"signed": self.signed()}) is None
        several = [{"public_key": KEY.verify_key_base64}, {"public_key": self.identity_server.verify_key_base64}]
        room = self.room(version, public_key="broken", public_keys=several)
        assert self.refusal(room, {"signed": self.signed()}) is None
        other = self.room(version, public_key=KEY.verify_key_base64)
        assert self.refusal(other, {"signed": self.signed()}) == "member.third_party.signature"

    def test_refusals(self, version: str) -> None:
        room = self.room(version)
        malformed = "member.third_party.malformed"
        assert self.refusal(room, {}) == malformed
        assert self.refusal(room, 5) == malformed
        assert self.refusal(room, {"signed": {"mxid": BOB}}) == malformed
        assert self.refusal(room, {"signed": {"token": "token"}}) == malformed
        assert self.refusal(room, {"signed": self.signed(mxid=CAROL)}) == "member.third_party.mxid"
        assert self.refusal(room, {"signed": self.signed(token="other")}) == "member.third_party.token"
        assert self.refusal(room, {"signed": self.signed(token=5)}) == "member.third_party.token"
        assert self.refusal(room, {"signed": self.signed()}, sender=CAROL) == "member.third_party.sender"
        assert self.refusal(room, {"signed": {**self.signed(), "x": 1}}) == "member.third_party.signature"
        assert self.refusal(room, {"signed": {**self.signed(), "signatures": 5}}) == "member.third_party.signature"
        room.member(BOB, "ban", ALICE)
        assert self.refusal(room, {"signed": self.signed()}) == "member.invite.banned"


@pytest.mark.parametrize("version", ALL)
class TestLeave:
    def powered_room(self, version: str) -> RoomBuilder:
        """Bob may kick (40) but not ban (60); Carol is his equal, Dave nobody."""
        room = new_room(version)
        for user in (BOB, CAROL, DAVE):
            room.member(user, "join")
        room.power(ALICE, {BOB: 50, CAROL: 50} | ({} if version == "12" else {ALICE: 100}), kick=40, ban=60)
        return room

    def test_by_oneself(self, version: str) -> None:
        room = new_room(version)
        assert room.member_refusal(BOB, "leave") == "member.leave.not_in"
        room.member(BOB, "invite", ALICE)
        assert room.member_refusal(BOB, "leave") is None
        room.member(BOB, "join")
        room.member(BOB, "leave")
        assert room.member_refusal(BOB, "leave") == "member.leave.not_in"
        room.member(BOB, "ban", ALICE)
        assert room.member_refusal(BOB, "leave") == "member.leave.not_in"

    def test_kick(self, version: str) -> None:
        room = self.powered_room(version)
        assert room.member_refusal(DAVE, "leave", BOB) is None
        assert room.member_refusal(CAROL, "leave", BOB) == "member.kick.power"
        assert room.member_refusal(ALICE, "leave", BOB) == "member.kick.power"
        assert room.member_refusal(BOB, "leave", DAVE) == "member.kick.power"
        assert room.member_refusal(DAVE, "leave", "@stranger:two") == "member.sender_not_joined"
        room.power(ALICE, {BOB: 50} | ({} if version == "12" else {ALICE: 100}), kick=50)
        assert room.member_refusal(DAVE, "leave", BOB) is None
        room.power(ALICE, {BOB: 49} | ({} if version == "12" else {ALICE: 100}), kick=50)
        assert room.member_refusal(DAVE, "leave", BOB) == "member.kick.power"

    def test_unban_needs_both_levels(self, version: str) -> None:
        room = self.powered_room(version)
        room.member(DAVE, "ban", ALICE)
        assert room.member_refusal(DAVE, "leave", BOB) == "member.unban.power"
        room.power(ALICE, {BOB: 60} | ({} if version == "12" else {ALICE: 100}), kick=70, ban=60)
        assert room.member_refusal(DAVE, "leave", BOB) == "member.kick.power"
        assert room.member_refusal(DAVE, "leave", ALICE) is None

    def test_ban(self, version: str) -> None:
        room = self.powered_room(version)
        assert room.member_refusal(DAVE, "ban", BOB) == "member.ban.power"
        room.power(ALICE, {BOB: 60, CAROL: 60} | ({} if version == "12" else {ALICE: 100}), ban=60)
        assert room.member_refusal(DAVE, "ban", BOB) is None
        assert room.member_refusal(CAROL, "ban", BOB) == "member.ban.power"
        assert room.member_refusal("@stranger:two", "ban", BOB) is None
        assert room.member_refusal(DAVE, "ban", "@stranger:two") == "member.sender_not_joined"


@pytest.mark.parametrize("version", versions_since(7))
class TestKnock:
    def test_where_the_join_rule_allows_it(self, version: str) -> None:
        for rule in ("public", "invite", "restricted", "private"):
            assert new_room(version, join_rule=rule).member_refusal(BOB, "knock") == "member.knock.join_rule"
        assert new_room(version, join_rule="knock").member_refusal(BOB, "knock") is None
        expected = None if int(version) >= 10 else "member.knock.join_rule"
        assert new_room(version, join_rule="knock_restricted").member_refusal(BOB, "knock") == expected

    def test_memberships(self, version: str) -> None:
        room = new_room(version, join_rule="knock")
        assert room.member_refusal(BOB, "knock", ALICE) == "member.knock.other"
        room.member(BOB, "knock")
        assert room.member_refusal(BOB, "knock") is None
        assert room.member_refusal(BOB, "join") == "member.join.not_invited"
        assert room.member_refusal(BOB, "leave") is None
        room.member(BOB, "invite", ALICE)
        assert room.member_refusal(BOB, "knock") == "member.knock.invited"
        room.member(BOB, "join")
        assert room.member_refusal(BOB, "knock") == "member.knock.joined"
        room.member(BOB, "ban", ALICE)
        assert room.member_refusal(BOB, "knock") == "member.knock.banned"


@pytest.mark.parametrize("version", versions_before(7))
def test_older_rooms_know_no_knocking(version: str) -> None:
    assert new_room(version, join_rule="knock").member_refusal(BOB, "knock") == "member.unknown"


@pytest.mark.parametrize("version", ALL)
def test_malformed(version: str) -> None:
    room = new_room(version)
    assert room.refusal("m.room.member", BOB, {"membership": "join"}) == "member.malformed"
    assert room.refusal("m.room.member", BOB, {}, BOB) == "member.malformed"
    for membership in ("", "JOIN", None, 5, {}):
        assert room.refusal("m.room.member", BOB, {"membership": membership}, BOB) == "member.unknown"


def test_creators_of_version_12_cannot_be_removed() -> None:
    room = new_room("12", additional_creators=[BOB])
    room.member(BOB, "join")
    assert room.member_refusal(BOB, "leave", ALICE) == "member.kick.power"
    assert room.member_refusal(ALICE, "ban", BOB) == "member.ban.power"
