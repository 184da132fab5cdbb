"""Messages, context, relations, and who may see what."""

from __future__ import annotations

from server_kit import Server, bodies

from homeserver.testing import path_of


async def test_pages_meet_without_gap_or_overlap(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    for number in range(25):
        await alice.say(room_id, str(number))
    for direction in ("b", "f"):
        seen, token = [], None
        for _ in range(10):
            query = {"dir": direction, "limit": "10", **({"from": token} if token else {})}
            page = await alice.messages(room_id, **query)
            seen += page["chunk"]
            token = page.get("end")
            if token is None:
                break
        said = [int(body) for body in bodies(seen)]
        assert said == (list(range(25)) if direction == "f" else list(range(24, -1, -1)))
        assert len({event["event_id"] for event in seen}) == len(seen)


async def test_turning_round_shows_the_same_events(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    for number in range(6):
        await alice.say(room_id, str(number))
    back = await alice.messages(room_id, dir="b", limit="3")
    forth = await alice.messages(room_id, dir="f", limit="3", **{"from": back["end"]})
    assert bodies(back["chunk"]) == bodies(forth["chunk"])[::-1] == ["5", "4", "3"]


async def test_context_surrounds_an_event(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    ids = [await alice.say(room_id, str(number)) for number in range(7)]
    around = await alice.call("GET", path_of("rooms", room_id, "context", ids[3]), limit="4")
    assert bodies(around["events_before"]) == ["2", "1"]
    assert around["event"]["content"]["body"] == "3"
    assert bodies(around["events_after"]) == ["4", "5"]
    before = await alice.messages(room_id, dir="b", limit="2", **{"from": around["start"]})
    assert bodies(before["chunk"])[:1] == ["0"]
    after = await alice.messages(room_id, dir="f", limit="2", **{"from": around["end"]})
    assert bodies(after["chunk"]) == ["6"]


async def test_what_was_said_before_joining_depends_on_the_history_visibility(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    for visibility, visible in (("shared", True), ("world_readable", True), ("invited", False), ("joined", False)):
        content = {"history_visibility": visibility}
        room_id = await alice.create_room(
            preset="public_chat",
            initial_state=[{"type": "m.room.history_visibility", "state_key": "", "content": content}],
        )
        early = await alice.say(room_id, "early")
        await bob.join(room_id)
        await alice.say(room_id, "late")
        said = bodies((await bob.messages(room_id, limit="50"))["chunk"])
        assert said == (["late", "early"] if visible else ["late"])
        answer = await bob.ask("GET", path_of("rooms", room_id, "event", early))
        assert answer.status == (200 if visible else 404)


async def test_who_left_sees_nothing_later(server: Server) -> None:
    alice, bob, carol = await server.users("alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat", name="before")
    await bob.join(room_id)
    await alice.say(room_id, "heard")
    await bob.leave(room_id)
    secret = await alice.say(room_id, "not heard")
    await alice.set_state(room_id, "m.room.name", {"name": "after"})
    assert bodies((await bob.messages(room_id))["chunk"]) == ["heard"]
    assert (await bob.ask("GET", path_of("rooms", room_id, "event", secret))).status == 404
    assert (await bob.call("GET", path_of("rooms", room_id, "state", "m.room.name"))) == {"name": "before"}
    assert (await carol.ask("GET", path_of("rooms", room_id, "messages"))).status == 403


async def test_a_redacted_event_has_no_content_left(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    mine, theirs = await bob.say(room_id, "mine"), await alice.say(room_id, "theirs")
    refused = await bob.ask("PUT", path_of("rooms", room_id, "redact", theirs, "1"), {})
    assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
    redaction = await bob.redact(room_id, mine)
    shown = await alice.call("GET", path_of("rooms", room_id, "event", mine))
    assert shown["content"] == {}
    because = shown["unsigned"]["redacted_because"]
    assert (because["event_id"], because["redacts"], because["content"]["redacts"]) == (redaction, mine, mine)
    await alice.redact(room_id, theirs)


async def test_edits_threads_and_reactions_are_bundled(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    root = await alice.say(room_id, "first")
    relation = {"rel_type": "m.replace", "event_id": root}
    edit = await alice.say(room_id, "* second", **{"m.new_content": {"body": "second"}, "m.relates_to": relation})
    await bob.say(room_id, "* forged", **{"m.new_content": {"body": "forged"}, "m.relates_to": relation})
    reply = await bob.say(room_id, "reply", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": root, "key": "+"}}
    await bob.send(room_id, "m.reaction", reaction)
    again = await bob.ask("PUT", path_of("rooms", room_id, "send", "m.reaction", "again"), reaction)
    assert (again.status, again.json["errcode"]) == (400, "M_DUPLICATE_ANNOTATION")

    bundled = (await alice.call("GET", path_of("rooms", room_id, "event", root)))["unsigned"]["m.relations"]
    assert bundled["m.replace"]["event_id"] == edit
    assert bundled["m.thread"]["latest_event"]["event_id"] == reply
    assert (bundled["m.thread"]["count"], bundled["m.thread"]["current_user_participated"]) == (1, True)

    related = await alice.client.get(f"/_matrix/client/v1/rooms/{room_id}/relations/{root}/m.annotation/m.reaction")
    assert [event["sender"] for event in related.json["chunk"]] == [bob.user_id]
    threads = await alice.client.get(f"/_matrix/client/v1/rooms/{room_id}/threads")
    assert [event["event_id"] for event in threads.json["chunk"]] == [root]
    await bob.redact(room_id, reply)
    threads = await alice.client.get(f"/_matrix/client/v1/rooms/{room_id}/threads")
    assert threads.json["chunk"] == []


async def test_a_repeated_transaction_sends_nothing_twice(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    path = path_of("rooms", room_id, "send", "m.room.message", "the same")
    first = await alice.call("PUT", path, {"body": "once"})
    # As after a restart: only the database remembers.
    server.homeserver.rooms.send.forget_transactions()
    assert await alice.call("PUT", path, {"body": "once"}) == first
    other = await server.user("alice")
    assert await other.call("PUT", path, {"body": "other device"}) != first
    assert bodies((await alice.messages(room_id))["chunk"]) == ["other device", "once"]


async def test_odd_state_keys_and_types(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    for state_key in ("", "a/b", "ünïcode", "with space", "%2F"):
        await alice.set_state(room_id, "org.example.state", {"key": state_key}, state_key)
        content = await alice.call("GET", path_of("rooms", room_id, "state", "org.example.state", state_key))
        assert content == {"key": state_key}
