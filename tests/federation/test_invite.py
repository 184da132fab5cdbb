"""Invites and knocks between servers: accepted, rejected, withdrawn, and with nobody on the other side."""

from __future__ import annotations

from typing import Any

import pytest
from federation.network import Network, eventually
from federation.rooms import VERSIONS, agree, hears, invite, sees_member, two_servers
from server_kit import User

from homeserver.testing import path_of


async def synced_room(user: User, kind: str, room_id: str) -> Any:
    """What a full sync says of a room of this kind, None if it says nothing."""
    synced = await user.call("GET", "/sync")
    return synced.get("rooms", {}).get(kind, {}).get(room_id)


@pytest.mark.parametrize("version", ["1", *VERSIONS])
async def test_an_invite_is_accepted(network: Network, version: str) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await alice.create_room(room_version=version, name="Private")
    await invite(alice, room_id, bob.user_id)
    shown = (await synced_room(bob, "invite", room_id))["invite_state"]["events"]
    assert {"m.room.create", "m.room.name", "m.room.join_rules", "m.room.member"} <= {one["type"] for one in shown}
    assert shown[-1]["state_key"] == bob.user_id
    assert all("signatures" not in one for one in shown)
    await bob.join(room_id)
    await sees_member(alice, room_id, bob.user_id, "join")
    await bob.say(room_id, "thank you")
    await hears(alice, room_id, "thank you")
    await agree(room_id, alpha, beta)


async def test_an_invite_is_rejected(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await alice.create_room()
    await invite(alice, room_id, bob.user_id)
    await bob.sync()
    await bob.leave(room_id)
    await sees_member(alice, room_id, bob.user_id, "leave")
    assert await synced_room(bob, "invite", room_id) is None
    assert room_id in (await bob.sync())["rooms"]["leave"]


async def test_an_invite_is_rejected_though_the_other_server_is_gone(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await alice.create_room()
    await invite(alice, room_id, bob.user_id)
    await alpha.hang_up()
    await bob.leave(room_id)
    assert await synced_room(bob, "invite", room_id) is None


async def test_an_invite_is_withdrawn(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await alice.create_room()
    await invite(alice, room_id, bob.user_id)
    assert await synced_room(bob, "invite", room_id) is not None
    await alice.call("POST", path_of("rooms", room_id, "kick"), {"user_id": bob.user_id})

    async def is_gone() -> bool:
        return await synced_room(bob, "invite", room_id) is None

    await eventually(is_gone)


async def test_invites_to_nobody_and_to_those_who_want_none(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await alice.create_room()
    path = path_of("rooms", room_id, "invite")
    nobody = await alice.ask("POST", path, {"user_id": "@nobody:beta.test"})
    assert nobody.status == 404
    config = path_of("user", bob.user_id, "account_data", "m.invite_permission_config")
    await bob.call("PUT", config, {"default_action": "block"})
    blocked = await alice.ask("POST", path, {"user_id": bob.user_id})
    assert (blocked.status, blocked.json["errcode"]) == (403, "M_INVITE_BLOCKED")


async def test_a_second_user_is_invited_to_a_room_the_server_is_in(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob, bert = await alpha.user("alice"), await beta.user("bob"), await beta.user("bert")
    room_id = await alice.create_room()
    await invite(alice, room_id, bob.user_id)
    await bob.join(room_id)
    await sees_member(alice, room_id, bob.user_id, "join")
    await invite(alice, room_id, bert.user_id)
    await sees_member(bob, room_id, bert.user_id, "invite")
    await bert.join(room_id)
    await sees_member(alice, room_id, bert.user_id, "join")
    await agree(room_id, alpha, beta)


@pytest.mark.parametrize("version", ["7", "10", "12"])
async def test_a_knock_is_answered(network: Network, version: str) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await alice.create_room(
        room_version=version,
        name="Knock first",
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}],
    )
    await bob.call("POST", path_of("knock", room_id), {"reason": "please"}, via=alpha.name)
    await sees_member(alice, room_id, bob.user_id, "knock")
    shown = (await synced_room(bob, "knock", room_id))["knock_state"]["events"]
    assert "m.room.name" in {one["type"] for one in shown}
    await invite(alice, room_id, bob.user_id)
    assert await synced_room(bob, "invite", room_id) is not None
    await bob.join(room_id)
    await sees_member(alice, room_id, bob.user_id, "join")
    await agree(room_id, alpha, beta)


async def test_a_knock_is_taken_back_or_denied(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await alice.create_room(
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}],
    )
    knock = path_of("knock", room_id)
    await bob.call("POST", knock, {}, via=alpha.name)
    await bob.leave(room_id)
    await sees_member(alice, room_id, bob.user_id, "leave")
    await bob.call("POST", knock, {}, via=alpha.name)
    await sees_member(alice, room_id, bob.user_id, "knock")
    await alice.call("POST", path_of("rooms", room_id, "kick"), {"user_id": bob.user_id})

    async def is_gone() -> bool:
        return await synced_room(bob, "knock", room_id) is None

    await eventually(is_gone)
    closed = await alice.create_room()
    refused = await bob.ask("POST", path_of("knock", closed), {}, via=alpha.name)
    assert refused.status == 403
