"""Summaries, spaces, shared rooms, reports and the history of notifications."""

from __future__ import annotations

from typing import Any

from server_kit import SERVER, Server, User, bodies

from homeserver.storage.reports import load_reports
from homeserver.testing import path_of

V1 = "/_matrix/client/v1"


async def _get(user: User, path: str, **query: str) -> Any:
    answer = await user.client.get(V1 + path, query=query)
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_summary_is_for_those_who_may_see_the_room(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    public = await alice.create_room(preset="public_chat", name="Open", room_alias_name="open")
    private = await alice.create_room(name="Closed")
    shown = await _get(bob, path_of("room_summary", f"#open:{SERVER}"))
    assert (shown["room_id"], shown["name"], shown["num_joined_members"]) == (public, "Open", 1)
    assert "membership" not in shown
    assert (await _get(alice, path_of("room_summary", private)))["membership"] == "join"
    assert (await bob.client.get(V1 + path_of("room_summary", private))).status == 404
    assert (await server.client.get(V1 + path_of("room_summary", public))).status == 200


async def test_the_tree_of_a_space(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    space = await alice.create_room(preset="public_chat", creation_content={"type": "m.space"}, name="Space")
    below = await alice.create_room(preset="public_chat", creation_content={"type": "m.space"}, name="Below")
    rooms = {name: await alice.create_room(preset="public_chat", name=name) for name in ("b", "a", "deep")}
    hidden = await alice.create_room(name="hidden")
    for parent, child, order in (
        (space, rooms["b"], "2"),
        (space, rooms["a"], "1"),
        (space, hidden, "3"),
        (space, below, "4"),
        (below, rooms["deep"], "1"),
        (below, space, "2"),
    ):
        await alice.set_state(parent, "m.space.child", {"via": [SERVER], "order": order}, child)
    path = path_of("rooms", space, "hierarchy")
    assert [room["name"] for room in (await _get(bob, path))["rooms"]] == ["Space", "a", "b", "Below", "deep"]
    assert [room["name"] for room in (await _get(alice, path))["rooms"]] == [
        "Space", "a", "b", "hidden", "Below", "deep",
    ]  # fmt: skip
    shallow = await _get(bob, path, max_depth="1")
    assert [room["name"] for room in shallow["rooms"]] == ["Space", "a", "b", "Below"]
    assert len(shallow["rooms"][0]["children_state"]) == 4
    assert shallow["rooms"][1]["children_state"] == []
    first = await _get(bob, path, limit="3")
    rest = await _get(bob, path, limit="3", **{"from": first["next_batch"]})
    assert [room["name"] for room in [*first["rooms"], *rest["rooms"]]] == ["Space", "a", "b", "Below", "deep"]
    assert "next_batch" not in rest
    changed = await bob.client.get(V1 + path, query={"max_depth": "1", "from": first["next_batch"]})
    assert (changed.status, changed.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_rooms_two_users_share(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    shared = await alice.create_room(preset="public_chat")
    await alice.create_room()
    await bob.join(shared)
    assert await _get(bob, "/mutual_rooms", user_id=alice.user_id) == {"joined": [shared], "count": 1}
    refused = await bob.client.get(V1 + "/mutual_rooms", query={"user_id": bob.user_id})
    assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_people_are_found_by_those_who_may_see_them(server: Server) -> None:
    alice, bob, carol = await server.users("alice", "bob", "carol")
    await bob.call("PUT", path_of("profile", bob.user_id, "displayname"), {"displayname": "Zoë 100%"})

    async def search(term: str) -> list[Any]:
        found = await alice.call("POST", "/user_directory/search", {"search_term": term})
        return [user["user_id"] for user in found["results"]]

    assert await search("bob") == []
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    assert await search("BOB") == await search("zoË") == await search("0%") == [bob.user_id]
    assert await search("%") == [bob.user_id]
    assert await search("a_b") == await search("alice") == []
    await carol.create_room(preset="public_chat")
    assert await search("carol") == [carol.user_id]
    many = await alice.call("POST", "/user_directory/search", {"search_term": SERVER, "limit": 1})
    assert (len(many["results"]), many["limited"]) == (1, True)


async def test_reports_are_kept_for_the_administrators(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    event_id = await alice.say(room_id, "rude")
    path = path_of("rooms", room_id, "report", event_id)
    assert (await bob.ask("POST", path, {"reason": "rude"})).status == 404
    await bob.join(room_id)
    await bob.call("POST", path, {"reason": "rude"})
    await bob.call("POST", path_of("rooms", room_id, "report"), {"reason": "all of it"})
    await bob.call("POST", path_of("users", alice.user_id, "report"), {"reason": "them"})
    assert (await bob.ask("POST", path_of("users", f"@nobody:{SERVER}", "report"), {"reason": "x"})).status == 404
    kept = await server.homeserver.database.read(load_reports, 10)
    assert [(report.user_id, report.room_id, report.event_id, report.reason) for report in kept] == [
        (alice.user_id, None, None, "them"),
        (None, room_id, None, "all of it"),
        (None, room_id, event_id, "rude"),
    ]


async def test_the_history_of_notifications(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    first = await alice.say(room_id, "one")
    await alice.say(room_id, "two", **{"m.mentions": {"user_ids": [bob.user_id]}})
    await bob.say(room_id, "my own")
    await alice.say(room_id, "three")
    page = await bob.call("GET", "/notifications", limit="2")
    told = [(one["event"]["content"]["body"], one["read"]) for one in page["notifications"]]
    assert told == [("three", False), ("two", True)]
    rest = await bob.call("GET", "/notifications", **{"from": page["next_token"]})
    assert [one["event"]["event_id"] for one in rest["notifications"]] == [first]
    highlights = await bob.call("GET", "/notifications", only="highlight")
    assert [one["event"]["content"]["body"] for one in highlights["notifications"]] == ["two"]
    await bob.call("PUT", path_of("pushrules", "global", "room", room_id), {"actions": []})
    events = [one["event"] for one in (await bob.call("GET", "/notifications"))["notifications"]]
    assert bodies(events) == ["two"]
