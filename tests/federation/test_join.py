"""Joining rooms of other servers, and what goes on in them afterwards."""

from __future__ import annotations

import asyncio

import pytest
from federation.network import Network, eventually
from federation.rooms import (
    VERSIONS,
    agree,
    hears,
    join_via,
    public_room,
    said,
    sees_member,
    sees_state,
    two_servers,
)
from server_kit import User, bodies, events_of

from homeserver.testing import path_of


@pytest.mark.parametrize("version", ["1", *VERSIONS])
async def test_two_servers_share_a_room(network: Network, version: str) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await public_room(alice, version, name="Shared")
    await alice.say(room_id, "before")
    await join_via(bob, room_id, alpha)
    synced = await bob.sync()
    assert room_id in synced["rooms"]["join"]
    await sees_member(alice, room_id, bob.user_id, "join")
    await alice.say(room_id, "from alpha")
    await hears(bob, room_id, "from alpha")
    await bob.say(room_id, "from beta")
    await hears(alice, room_id, "from beta")
    await alice.set_state(room_id, "m.room.topic", {"topic": "federation"})
    await sees_state(bob, room_id, ("m.room.topic", ""), topic="federation")
    assert await said(bob, room_id) == ["before", "from alpha", "from beta"]
    assert bodies(events_of(await bob.sync(), room_id)) == ["from alpha", "from beta"]
    await agree(room_id, alpha, beta)


async def test_join_by_alias(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await public_room(alice, room_alias_name="lounge")
    joined = await bob.call("POST", path_of("join", "#lounge:alpha.test"), {})
    assert joined["room_id"] == room_id
    await sees_member(alice, room_id, bob.user_id, "join")


async def test_a_third_server_hears_of_a_join_through_the_second(network: Network) -> None:
    alpha, beta = await two_servers(network)
    gamma = await network.add("gamma.test")
    alice, bob, carol = await alpha.user("alice"), await beta.user("bob"), await gamma.user("carol")
    room_id = await public_room(alice)
    await join_via(bob, room_id, alpha)
    await sees_member(alice, room_id, bob.user_id, "join")
    await join_via(carol, room_id, beta)
    await sees_member(alice, room_id, carol.user_id, "join")
    await carol.say(room_id, "hello from gamma")
    await hears(alice, room_id, "hello from gamma")
    await hears(bob, room_id, "hello from gamma")
    await agree(room_id, alpha, beta, gamma)


async def test_two_users_of_a_server_join_at_the_same_time(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob, bert = await alpha.user("alice"), await beta.user("bob"), await beta.user("bert")
    room_id = await public_room(alice)
    await asyncio.gather(join_via(bob, room_id, alpha), join_via(bert, room_id, alpha))
    for user in (bob, bert):
        await sees_member(alice, room_id, user.user_id, "join")
        assert room_id in (await user.sync())["rooms"]["join"]
    await bert.say(room_id, "both are here")
    await hears(alice, room_id, "both are here")
    await agree(room_id, alpha, beta)


async def test_another_candidate_is_tried(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await public_room(alice)
    answer = await bob.client.request(
        "POST",
        "/_matrix/client/v3" + path_of("join", room_id),
        json={},
        query={"via": ["nowhere.test", alpha.name]},
    )
    assert answer.status == 200


async def test_refusals_reach_the_client(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    private = await alice.create_room()
    refused = await bob.ask("POST", path_of("join", private), {}, via=alpha.name)
    assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
    unknown = await bob.ask("POST", path_of("join", "!nothing:alpha.test"), {}, via=alpha.name)
    assert (unknown.status, unknown.json["errcode"]) == (404, "M_NOT_FOUND")
    nowhere = await bob.ask("POST", path_of("join", "!" + "A" * 43), {})
    assert nowhere.status == 404


async def test_kick_ban_and_coming_back(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await public_room(alice)
    await join_via(bob, room_id, alpha)
    await sees_member(alice, room_id, bob.user_id, "join")
    await alice.call("POST", path_of("rooms", room_id, "kick"), {"user_id": bob.user_id})
    await _leaves_sync(bob, room_id)
    await alice.say(room_id, "behind his back")
    await join_via(bob, room_id, alpha)
    await alice.say(room_id, "welcome back")
    await hears(bob, room_id, "welcome back")
    assert "behind his back" in await said(bob, room_id)
    await alice.call("POST", path_of("rooms", room_id, "ban"), {"user_id": bob.user_id})
    await _leaves_sync(bob, room_id)
    banned = await bob.ask("POST", path_of("join", room_id), {}, via=alpha.name)
    assert banned.status == 403


async def _leaves_sync(user: User, room_id: str) -> None:
    async def is_gone() -> bool:
        return room_id in (await user.sync()).get("rooms", {}).get("leave", {})

    await eventually(is_gone)


async def test_the_last_user_leaves_and_comes_back(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await public_room(alice)
    await join_via(bob, room_id, alpha)
    await bob.leave(room_id)
    await sees_member(alice, room_id, bob.user_id, "leave")
    await alice.set_state(room_id, "m.room.topic", {"topic": "while away"})
    await join_via(bob, room_id, alpha)
    await sees_state(bob, room_id, ("m.room.topic", ""), topic="while away")
    await bob.say(room_id, "back")
    await hears(alice, room_id, "back")
    await agree(room_id, alpha, beta)


@pytest.mark.parametrize("version", ["8", "10", "12"])
async def test_restricted_join(network: Network, version: str) -> None:
    alpha, beta = await two_servers(network)
    alice, bob, bert = await alpha.user("alice"), await beta.user("bob"), await beta.user("bert")
    lobby = await public_room(alice, version)
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": lobby}]}
    room_id = await alice.create_room(
        room_version=version,
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rule}],
        power_level_content_override={"invite": 50},
    )
    refused = await bob.ask("POST", path_of("join", room_id), {}, via=alpha.name)
    assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
    await join_via(bob, lobby, alpha)
    await sees_member(alice, lobby, bob.user_id, "join")
    await join_via(bob, room_id, alpha)
    member = await alice.call("GET", path_of("rooms", room_id, "state", "m.room.member", bob.user_id))
    assert member["join_authorised_via_users_server"] == alice.user_id
    await bob.say(room_id, "let in")
    await hears(alice, room_id, "let in")
    # Now beta is in the room, but has nobody there who could invite: alpha has to vouch for the next one too.
    await bert.join(lobby)
    await sees_member(alice, lobby, bert.user_id, "join")
    await bert.join(room_id)
    member = await alice.call("GET", path_of("rooms", room_id, "state", "m.room.member", bert.user_id))
    assert member["join_authorised_via_users_server"] == alice.user_id
    await agree(room_id, alpha, beta)
