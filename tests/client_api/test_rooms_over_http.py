"""Reading rooms over HTTP where no story elsewhere does: members, aliases, relations, read markers, presence."""

from __future__ import annotations

from pathlib import Path

from server_kit import Server, running_server

from homeserver.testing import path_of

V1 = "/_matrix/client/v1"


async def test_members_now_and_at_a_point(server: Server) -> None:
    alice, bob, carol = await server.users("alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")
    await bob.call("POST", path_of("rooms", room_id, "join"), {"reason": "curious"})
    before = (await bob.sync())["next_batch"]
    await carol.join(room_id)
    await bob.leave(room_id)
    path = path_of("rooms", room_id, "members")

    async def members(**query: str) -> dict[str, str]:
        chunk = (await alice.call("GET", path, **query))["chunk"]
        return {event["state_key"]: event["content"]["membership"] for event in chunk}

    assert await members() == {alice.user_id: "join", bob.user_id: "leave", carol.user_id: "join"}
    assert await members(membership="join") == {alice.user_id: "join", carol.user_id: "join"}
    assert await members(not_membership="join") == {bob.user_id: "leave"}
    assert await members(at=before) == {alice.user_id: "join", bob.user_id: "join"}


async def test_local_aliases(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room(room_alias_name="den")
    found = await alice.call("GET", path_of("rooms", room_id, "aliases"))
    assert found == {"aliases": ["#den:example.org"]}


async def test_relations_of_an_event(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    root = await alice.say(room_id, "root")
    reaction = await alice.send(
        room_id, "m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": root, "key": "+"}}
    )
    threaded = await alice.say(room_id, "in thread", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    base = f"{V1}{path_of('rooms', room_id, 'relations', root)}"
    everything = (await alice.client.request("GET", base)).json
    assert [event["event_id"] for event in everything["chunk"]] == [threaded, reaction]
    threads = (await alice.client.request("GET", f"{base}/m.thread")).json
    assert [event["event_id"] for event in threads["chunk"]] == [threaded]


async def test_both_markers_at_once(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    event_id = await alice.say(room_id, "read this")
    await alice.call("POST", path_of("rooms", room_id, "read_markers"), {"m.fully_read": event_id, "m.read": event_id})
    room = (await alice.sync())["rooms"]["join"][room_id]
    assert {"type": "m.fully_read", "content": {"event_id": event_id}} in room["account_data"]["events"]
    (receipts,) = [event for event in room["ephemeral"]["events"] if event["type"] == "m.receipt"]
    assert alice.user_id in receipts["content"][event_id]["m.read"]


async def test_ones_own_presence(tmp_path: Path) -> None:
    async with running_server(tmp_path, presence={"enabled": True}) as server:
        (alice,) = await server.users("alice")
        path = path_of("presence", alice.user_id, "status")
        await alice.call("PUT", path, {"presence": "unavailable", "status_msg": "lunch"})
        found = await alice.call("GET", path)
        assert (found["presence"], found["status_msg"]) == ("unavailable", "lunch")
