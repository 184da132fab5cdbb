"""POST /search: what members wrote is found by members, in their order, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from server_kit import Server, User, running_server


async def search(user: User, term: str, batch: str | None = None, **criteria: Any) -> Any:
    query = {"next_batch": batch} if batch is not None else {}
    body = {"search_categories": {"room_events": {"search_term": term, **criteria}}}
    return (await user.call("POST", "/search", body, **query))["search_categories"]["room_events"]


def texts(found: Any) -> list[str]:
    return [one["result"]["content"].get("body") for one in found["results"]]


async def test_messages_names_and_topics_are_found_by_members_only(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(name="Gardening", topic="Tomatoes and more")
    await alice.say(room_id, "the tomatoes are ripe")
    await alice.say(room_id, "so are the plums")
    found = await search(alice, "Tomato", order_by="recent")
    assert [one["result"]["type"] for one in found["results"]] == ["m.room.message", "m.room.topic"]
    assert found["count"] == 2
    assert found["highlights"] == ["tomato"]
    assert all(one["rank"] > 0 for one in (await search(alice, "tomato"))["results"])
    assert texts(await search(alice, "plums the")) == ["so are the plums"]
    assert [one["result"]["content"]["name"] for one in (await search(alice, "gardening"))["results"]] == ["Gardening"]
    assert (await search(alice, "tomato", keys=["content.topic"]))["count"] == 1
    assert (await search(bob, "tomato")) == {"count": 0, "highlights": [], "results": []}


async def test_what_was_redacted_or_came_before_is_not_found(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(
        preset="public_chat",
        initial_state=[{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}],
    )
    await alice.say(room_id, "secret plan A")
    regretted = await alice.say(room_id, "secret plan B")
    await bob.join(room_id)
    await alice.say(room_id, "secret plan C")
    await alice.redact(room_id, regretted)
    assert texts(await search(alice, "secret plan", order_by="recent")) == ["secret plan C", "secret plan A"]
    assert texts(await search(bob, "secret plan")) == ["secret plan C"]


async def test_pages_context_state_and_groups(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    for number in range(7):
        await (alice if number % 2 else bob).say(room_id, f"cheese {number}")
    wanted: dict[str, Any] = {
        "filter": {"limit": 3},
        "event_context": {"before_limit": 1, "after_limit": 1, "include_profile": True},
        "include_state": True,
        "groupings": {"group_by": [{"key": "room_id"}, {"key": "sender"}]},
    }
    for order in ("recent", "rank"):
        first = await search(alice, "cheese", order_by=order, **wanted)
        assert texts(first) == ["cheese 6", "cheese 5", "cheese 4"]
        context = first["results"][1]["context"]
        assert [event["content"]["body"] for event in context["events_before"]] == ["cheese 4"]
        assert [event["content"]["body"] for event in context["events_after"]] == ["cheese 6"]
        assert context["profile_info"][alice.user_id]["displayname"] == "alice"
        assert "m.room.create" in {event["type"] for event in first["state"][room_id]}
        assert first["groups"]["room_id"][room_id]["results"] == [one["result"]["event_id"] for one in first["results"]]
        second = await search(alice, "cheese", first["next_batch"], order_by=order, **wanted)
        third = await search(alice, "cheese", second["next_batch"], order_by=order, **wanted)
        assert texts(second) + texts(third) == ["cheese 3", "cheese 2", "cheese 1", "cheese 0"]
        assert "next_batch" not in third
        of_bob = first["groups"]["sender"][bob.user_id]["next_batch"]
        assert texts(await search(alice, "cheese", of_bob, order_by=order)) == ["cheese 2", "cheese 0"]


async def test_filters(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    here, there = await alice.create_room(preset="public_chat"), await alice.create_room(preset="public_chat")
    await bob.join(here)
    await alice.say(here, "find me here")
    await bob.say(here, "find me too")
    await alice.say(there, "find me there")
    by_bob = await search(alice, "find", filter={"senders": [bob.user_id]})
    assert texts(by_bob) == ["find me too"]
    assert texts(await search(alice, "find", filter={"rooms": [there]})) == ["find me there"]
    assert texts(await search(alice, "find", filter={"not_rooms": [here]})) == ["find me there"]
    assert texts(await search(bob, "find", filter={"rooms": [there]})) == []
    await bob.leave(here)
    assert texts(await search(bob, "find")) == []
    assert len(texts(await search(bob, "find", filter={"rooms": [here]}))) == 2


async def test_an_upgraded_room_is_searched_with_the_one_before(server: Server) -> None:
    (alice,) = await server.users("alice")
    old = await alice.create_room(room_version="10")
    await alice.say(old, "ancient wisdom")
    upgraded = await alice.call("POST", f"/rooms/{old}/upgrade", {"new_version": "11"})
    await alice.leave(old)
    assert texts(await search(alice, "wisdom")) == ["ancient wisdom"]
    assert texts(await search(alice, "wisdom", filter={"rooms": [upgraded["replacement_room"]]})) == ["ancient wisdom"]


async def test_words_of_every_script(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    for text in (
        "東京都に住んでいます",
        "我们在图书馆见面",
        "한국어를 배워요",
        "Größe zählt",
        "o'clock? (really)",
    ):
        await alice.say(room_id, text)
    for term, text in (
        ("東京", "東京都に住んでいます"),
        ("图书馆", "我们在图书馆见面"),
        ("한국", "한국어를 배워요"),
        ("GROSSE", "Größe zählt"),
        ("o'clock & 'really':*", "o'clock? (really)"),
    ):
        assert texts(await search(alice, term)) == [text], term


async def test_bad_requests(server: Server) -> None:
    (alice,) = await server.users("alice")
    for body in (
        {},
        {"search_categories": []},
        {"search_categories": {"room_events": {}}},
        {"search_categories": {"room_events": {"search_term": 5}}},
        {"search_categories": {"room_events": {"search_term": "x", "order_by": "moon"}}},
    ):
        answer = await alice.ask("POST", "/search", body)
        assert (answer.status, answer.json["errcode"]) == (400, "M_BAD_JSON"), body
    good = {"search_categories": {"room_events": {"search_term": "x"}}}
    await alice.create_room()
    answer = await alice.ask("POST", "/search", good, next_batch="nonsense")
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    assert (await search(alice, "!!!"))["results"] == []
    assert await alice.call("POST", "/search", {"search_categories": {}}) == {"search_categories": {}}


async def test_search_can_be_switched_off(tmp_path: Path) -> None:
    async with running_server(tmp_path, search={"enabled": False}) as server:
        (alice,) = await server.users("alice")
        answer = await alice.ask("POST", "/search", {"search_categories": {"room_events": {"search_term": "x"}}})
        assert (answer.status, answer.json["errcode"]) == (404, "M_UNRECOGNIZED")
