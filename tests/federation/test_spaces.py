"""Spaces whose rooms are on several servers: what a server tells, what it believes, and summaries of far rooms."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from federation.network import Network
from federation.rooms import join_via, public_room, sees_member, two_servers
from federation.test_receive import hosted
from server_kit import User

from homeserver.testing import path_of
from homeserver_federation.remote_trees import parse_tree

_V1 = "/_matrix/federation/v1"
_SPACE = {"creation_content": {"type": "m.space"}}


async def link(user: User, space_id: str, child_id: str, via: str, **content: Any) -> None:
    await user.set_state(space_id, "m.space.child", {"via": [via], **content}, child_id)


async def tree(user: User, space_id: str, **query: str) -> list[str]:
    """The IDs of a space's rooms."""
    answer = await user.client.request(
        "GET", "/_matrix/client/v1" + path_of("rooms", space_id, "hierarchy"), query=query
    )
    assert answer.status == 200, answer.body
    return [room["room_id"] for room in answer.json["rooms"]]


async def test_a_server_tells_of_the_children_that_the_other_may_see(network: Network) -> None:
    alpha, alice, eve = await hosted(network, **_SPACE)
    shown = await public_room(alice, name="Shown")
    hidden = await alice.create_room(preset="private_chat")
    # Members of the space may join it, and the other server has one.
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": eve.room_id}]}
    restricted = await alice.create_room(
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rule}]
    )
    for room_id in (shown, hidden, restricted):
        await link(alice, eve.room_id, room_id, alpha.name, suggested=room_id == shown)
    path = _V1 + path_of("hierarchy", eve.room_id)
    status, answer = await eve.fake.ask(alpha, "GET", path)
    assert status == 200
    assert answer["room"]["room_id"] == eve.room_id
    assert {child["state_key"] for child in answer["room"]["children_state"]} == {shown, hidden, restricted}
    assert {child["room_id"] for child in answer["children"]} == {shown, restricted}
    assert answer["inaccessible_children"] == [hidden]
    assert next(child for child in answer["children"] if child["room_id"] == restricted)["allowed_room_ids"] == [
        eve.room_id
    ]
    _, answer = await eve.fake.ask(alpha, "GET", path + "?suggested_only=true")
    assert [child["room_id"] for child in answer["children"]] == [shown]
    for room_id in (hidden, "!nowhere:alpha.test"):
        status, answer = await eve.fake.ask(alpha, "GET", _V1 + path_of("hierarchy", room_id))
        assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


async def test_an_access_list_hides_a_room(network: Network) -> None:
    alpha, alice, eve = await hosted(network)
    await alice.set_state(eve.room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["eve.test"]})
    status, _ = await eve.fake.ask(alpha, "GET", _V1 + path_of("hierarchy", eve.room_id))
    assert status == 404


async def test_rooms_of_other_servers_are_looked_up(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    inner = await public_room(alice, **_SPACE)
    leaf, hidden = await public_room(alice, name="Leaf"), await alice.create_room(preset="private_chat")
    for room_id in (leaf, hidden):
        await link(alice, inner, room_id, alpha.name)
    outer = await public_room(bob, **_SPACE)
    await link(bob, outer, inner, alpha.name)
    assert await tree(bob, outer) == [outer, inner, leaf]
    assert await tree(bob, outer, max_depth="1") == [outer, inner]
    # A space that this server is not in, by itself.
    assert await tree(bob, outer, suggested_only="true") == [outer]


async def test_nobody_sees_what_only_others_may_join(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob, cleo = await alpha.user("alice"), await beta.user("bob"), await beta.user("cleo")
    club = await public_room(alice)
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    room_id = await alice.create_room(initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rule}])
    await join_via(bob, club, alpha)
    await sees_member(alice, club, bob.user_id, "join")
    spaces = {}
    for user in (bob, cleo):
        spaces[user.user_id] = await public_room(user, **_SPACE)
        await link(user, spaces[user.user_id], room_id, alpha.name)
    assert room_id in await tree(bob, spaces[bob.user_id])
    assert room_id not in await tree(cleo, spaces[cleo.user_id])


async def test_the_summary_of_a_far_room(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await public_room(alice, name="Far", room_alias_name="far")
    private = await alice.create_room(preset="private_chat")

    async def ask(wanted: str, **query: str) -> Any:
        return await bob.client.request("GET", "/_matrix/client/v1" + path_of("room_summary", wanted), query=query)

    for answer in (await ask(room_id, via="alpha.test"), await ask("#far:alpha.test")):
        assert answer.status == 200
        assert (answer.json["room_id"], answer.json["name"], answer.json["num_joined_members"]) == (room_id, "Far", 1)
        assert "children_state" not in answer.json
    for refused in (await ask(private, via="alpha.test"), await ask(private, via="nowhere.test")):
        assert (refused.status, refused.json["errcode"]) == (404, "M_NOT_FOUND")
    # Nobody without an account makes this server ask others.
    anonymous = await beta.client.request(
        "GET", "/_matrix/client/v1" + path_of("room_summary", room_id), query={"via": "alpha.test"}
    )
    assert anonymous.status == 404


_ROOM = {"room_id": "!a:x.test", "num_joined_members": 3, "world_readable": True, "guest_can_join": False}
_CHILD = {
    "type": "m.space.child",
    "state_key": "!b:x.test",
    "sender": "@u:x.test",
    "origin_server_ts": 1,
    "content": {"via": ["x.test"]},
}


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"room": 5}, {"room": {**_ROOM, "room_id": "!other:x.test"}}, {"room": {**_ROOM, "room_id": 7}}],
)
def test_answers_that_tell_nothing(answer: object) -> None:
    assert parse_tree("!a:x.test", answer) is None


def test_what_is_not_as_it_should_be_is_left_out() -> None:
    wrong = [
        5,
        {**_CHILD, "type": "m.room.member"},
        {**_CHILD, "content": {}},
        {**_CHILD, "state_key": 5},
        {**_CHILD, "sender": "nobody"},
        {**_CHILD, "origin_server_ts": "now"},
    ]
    told = {
        "room": {**_ROOM, "name": ["no text"], "topic": "a text", "surprise": 1, "children_state": [*wrong, _CHILD]},
        "children": [{"room_id": "!b:x.test", "num_joined_members": -1}, "nonsense"],
        "inaccessible_children": ["!c:x.test", {}],
    }
    found = parse_tree("!a:x.test", told)
    assert found is not None
    assert found.room == {**_ROOM, "topic": "a text", "children_state": [_CHILD]}
    assert found.children["!b:x.test"]["num_joined_members"] == 0
    assert found.inaccessible == {"!c:x.test"}


async def test_a_server_cannot_make_the_tree_endless(network: Network) -> None:
    """Every room it tells of is a space with one more in it."""
    beta, fake = await network.add("beta.test"), await network.add_fake("eve.test")
    bob = await beta.user("bob")
    asked = []

    def told(number: int) -> Any:
        async def handle(request: web.Request) -> web.Response:
            asked.append(number)
            child = {**_CHILD, "state_key": f"!s{number + 1}:eve.test", "content": {"via": ["eve.test"]}}
            room = {**_ROOM, "room_id": f"!s{number}:eve.test", "room_type": "m.space", "children_state": [child]}
            return web.json_response({"room": room, "children": [], "inaccessible_children": []})

        return handle

    for number in range(60):
        fake.routes["GET", f"{_V1}/hierarchy/!s{number}:eve.test"] = told(number)
    space_id = await public_room(bob, **_SPACE)
    await link(bob, space_id, "!s0:eve.test", "eve.test")
    assert await tree(bob, space_id, limit="50") == [space_id, *(f"!s{number}:eve.test" for number in range(10))]
    assert len(asked) == 10
