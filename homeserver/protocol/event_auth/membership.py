"""The rules for m.room.member: joining, inviting, leaving, kicking, banning, unbanning and knocking.

Spec: rooms/v12 #authorisation-rules, rule 5
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from homeserver.protocol.event_auth.auth_state import AuthState
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.refusal import Refusal
from homeserver.protocol.third_party_invites import is_signed_for_invite, signed_part_of

SignedBy: TypeAlias = bool | Callable[[str], bool]


def check_member(event: Event, room: AuthState, signed_by_authoriser: SignedBy) -> Refusal | None:
    # 5.1
    if event.state_key is None or "membership" not in event.content:
        return Refusal("member.malformed", "A membership event needs a user and a membership.")
    # 5.2
    if room.rules.restricted_joins and "join_authorised_via_users_server" in event.content:
        refusal = _check_authoriser_signature(event, signed_by_authoriser)
        if refusal is not None:
            return refusal
    match event.membership:
        case "join":
            return _check_join(event, event.state_key, room)
        case "invite":
            return _check_invite(event, event.state_key, room)
        case "leave":
            return _check_leave(event, event.state_key, room)
        case "ban":
            return _check_ban(event, event.state_key, room)
        case "knock" if room.rules.knocking:
            return _check_knock(event, event.state_key, room)
        case _:
            # 5.8
            return Refusal("member.unknown", "The membership is unknown.")


def _check_authoriser_signature(event: Event, signed_by_authoriser: SignedBy) -> Refusal | None:
    authoriser = event.content["join_authorised_via_users_server"]
    signed = (
        signed_by_authoriser(server_name_of(authoriser) if isinstance(authoriser, str) else "")
        if callable(signed_by_authoriser)
        else signed_by_authoriser
    )
    if isinstance(authoriser, str) and signed:
        return None
    return Refusal("member.authoriser_signature", "The server that authorised the join did not sign it.")


def _check_join(event: Event, target: str, room: AuthState) -> Refusal | None:
    # 5.3.1
    if event.prev_event_ids == (room.create.event_id,) and target == room.creator:
        return None
    # 5.3.2
    if event.sender != target:
        return Refusal("member.join.other", "Nobody can join a room for someone else.")
    membership = room.membership_of(target)
    # 5.3.3
    if membership == "ban":
        return Refusal("member.join.banned", f"{target} is banned from the room.")
    join_rule = room.join_rule
    # 5.3.4
    if join_rule == "invite" or (join_rule == "knock" and room.rules.knocking):
        if membership in {"invite", "join"}:
            return None
        return Refusal("member.join.not_invited", f"{target} is not invited to the room.")
    # 5.3.5
    if (join_rule == "restricted" and room.rules.restricted_joins) or (
        join_rule == "knock_restricted" and room.rules.knock_restricted_joins
    ):
        if membership in {"invite", "join"}:
            return None
        return _check_restricted_join(event, room)
    # 5.3.6
    if join_rule == "public":
        return None
    # 5.3.7
    return Refusal("member.join.join_rule", "The join rule of the room lets nobody in.")


def _check_restricted_join(event: Event, room: AuthState) -> Refusal | None:
    authoriser = event.content.get("join_authorised_via_users_server")
    if not isinstance(authoriser, str):
        return Refusal("member.join.restricted", f"{event.sender} is not invited, and nobody authorised the join.")
    if room.membership_of(authoriser) != "join" or room.power.of_user(authoriser) < room.power.invite:
        return Refusal("member.join.authoriser", f"{authoriser} cannot let others into the room.")
    return None


def _check_invite(event: Event, target: str, room: AuthState) -> Refusal | None:
    # 5.4.1
    if "third_party_invite" in event.content:
        return _check_third_party_invite(event, target, room)
    # 5.4.2
    if room.membership_of(event.sender) != "join":
        return _not_joined(event.sender)
    # 5.4.3
    membership = room.membership_of(target)
    if membership == "join":
        return Refusal("member.invite.joined", f"{target} is already in the room.")
    if membership == "ban":
        return Refusal("member.invite.banned", f"{target} is banned from the room.")
    # 5.4.4
    if room.power.of_user(event.sender) >= room.power.invite:
        return None
    # 5.4.5
    return Refusal("member.invite.power", f"{event.sender} does not have the power level to invite others.")


def _check_third_party_invite(event: Event, target: str, room: AuthState) -> Refusal | None:
    # 5.4.1.1
    if room.membership_of(target) == "ban":
        return Refusal("member.invite.banned", f"{target} is banned from the room.")
    # 5.4.1.2, 5.4.1.3
    signed = signed_part_of(event.content)
    if signed is None or "mxid" not in signed or "token" not in signed:
        return Refusal("member.third_party.malformed", "The third-party invite is not signed for anybody.")
    # 5.4.1.4
    if signed["mxid"] != target:
        return Refusal("member.third_party.mxid", f"The third-party invite is for someone other than {target}.")
    # 5.4.1.5
    token = signed["token"]
    invite = room.state.get(("m.room.third_party_invite", token)) if isinstance(token, str) else None
    if invite is None:
        return Refusal("member.third_party.token", "The room knows nothing of this third-party invite.")
    # 5.4.1.6
    if invite.sender != event.sender:
        return Refusal("member.third_party.sender", f"{event.sender} did not send this third-party invite.")
    # 5.4.1.7
    if is_signed_for_invite(signed, invite.content):
        return None
    # 5.4.1.8
    return Refusal("member.third_party.signature", "No valid signature confirms the third-party invite.")


def _check_leave(event: Event, target: str, room: AuthState) -> Refusal | None:
    membership = room.membership_of(target)
    # 5.5.1
    if event.sender == target:
        if membership in {"invite", "join"} or (membership == "knock" and room.rules.knocking):
            return None
        return Refusal("member.leave.not_in", f"{target} is not in the room.")
    # 5.5.2
    if room.membership_of(event.sender) != "join":
        return _not_joined(event.sender)
    # 5.5.3
    level = room.power.of_user(event.sender)
    if membership == "ban" and level < room.power.ban:
        return Refusal("member.unban.power", f"{event.sender} does not have the power level to unban {target}.")
    # 5.5.4
    if level >= room.power.kick and room.power.of_user(target) < level:
        return None
    # 5.5.5
    return Refusal("member.kick.power", f"{event.sender} does not have the power level to remove {target}.")


def _check_ban(event: Event, target: str, room: AuthState) -> Refusal | None:
    # 5.6.1
    if room.membership_of(event.sender) != "join":
        return _not_joined(event.sender)
    # 5.6.2
    level = room.power.of_user(event.sender)
    if level >= room.power.ban and room.power.of_user(target) < level:
        return None
    # 5.6.3
    return Refusal("member.ban.power", f"{event.sender} does not have the power level to ban {target}.")


def _check_knock(event: Event, target: str, room: AuthState) -> Refusal | None:
    # 5.7.1
    join_rule = room.join_rule
    if join_rule != "knock" and not (join_rule == "knock_restricted" and room.rules.knock_restricted_joins):
        return Refusal("member.knock.join_rule", "The join rule of the room does not allow knocking.")
    # 5.7.2
    if event.sender != target:
        return Refusal("member.knock.other", "Nobody can knock for someone else.")
    # 5.7.3, 5.7.4
    match room.membership_of(target):
        case "ban":
            return Refusal("member.knock.banned", f"{target} is banned from the room.")
        case "invite":
            return Refusal("member.knock.invited", f"{target} is already invited to the room.")
        case "join":
            return Refusal("member.knock.joined", f"{target} is already in the room.")
        case _:
            return None


def _not_joined(user_id: str) -> Refusal:
    return Refusal("member.sender_not_joined", f"{user_id} is not in the room.")
