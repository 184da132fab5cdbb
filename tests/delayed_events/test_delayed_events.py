"""Delayed events over HTTP: scheduled in both forms, sent when due, managed by whoever knows their id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from server_kit import Server, User, running_server

from homeserver.runtime.clock import ManualClock
from homeserver.testing import path_of

UNSTABLE = "/_matrix/client/unstable/org.matrix.msc4140"
MEMBER = "org.matrix.msc3401.call.member"
LEFT: dict[str, Any] = {}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def server(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Server]:
    limits = {"max_scheduled": 3, "max_delay": "1h"}
    async with running_server(tmp_path, clock=clock, delayed_events=limits) as running:
        yield running


@pytest.fixture
async def alice(server: Server) -> User:
    return await server.user("alice")


@pytest.fixture
async def room_id(alice: User) -> str:
    return await alice.create_room()


async def _delay_leave(user: User, room_id: str, delay_ms: int) -> str:
    path = path_of("rooms", room_id, "state", MEMBER, user.user_id)
    answer = await user.call("PUT", path, LEFT, **{"org.matrix.msc4140.delay": str(delay_ms)})
    assert set(answer) == {"delay_id"}
    return str(answer["delay_id"])


async def _act(server: Server, delay_id: str, action: str) -> int:
    """Without a token."""
    return (await server.client.request("POST", f"{UNSTABLE}/delayed_events/{delay_id}/{action}", json={})).status


async def _member(user: User, room_id: str) -> Any:
    return await user.call("GET", path_of("rooms", room_id, "state", MEMBER, user.user_id))


async def _settled(clock: ManualClock, seconds: float) -> None:
    """Move on, and give the worker the threads' time for its database calls."""
    await clock.advance(seconds)
    for _ in range(20):
        await asyncio.sleep(0.01)
        await clock.advance(0)


async def _get(user: User, path: str) -> Any:
    answer = await user.client.request("GET", UNSTABLE + path)
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_delayed_leave_is_sent_when_it_is_due(alice: User, room_id: str, clock: ManualClock) -> None:
    await alice.set_state(room_id, MEMBER, {"call": 1}, alice.user_id)
    delay_id = await _delay_leave(alice, room_id, 8_000)
    await _settled(clock, 7.9)
    assert await _member(alice, room_id) == {"call": 1}
    await _settled(clock, 0.2)
    assert await _member(alice, room_id) == LEFT

    outcome = await _get(alice, f"/delayed_events/{delay_id}")
    assert outcome["event_id"].startswith("$")
    assert outcome["finalised_ts"] >= outcome["scheduled_at"] + 8_000
    assert outcome["state_key"] == alice.user_id


async def test_restarts_keep_a_leave_from_being_sent(
    server: Server, alice: User, room_id: str, clock: ManualClock
) -> None:
    await alice.set_state(room_id, MEMBER, {"call": 1}, alice.user_id)
    delay_id = await _delay_leave(alice, room_id, 8_000)
    for _ in range(3):
        await _settled(clock, 6)
        assert await _act(server, delay_id, "restart") == 200
    assert await _member(alice, room_id) == {"call": 1}
    await _settled(clock, 8.1)
    assert await _member(alice, room_id) == LEFT
    assert await _act(server, delay_id, "restart") == 409


async def test_a_cancelled_event_is_never_sent(server: Server, alice: User, room_id: str, clock: ManualClock) -> None:
    await alice.set_state(room_id, MEMBER, {"call": 1}, alice.user_id)
    delay_id = await _delay_leave(alice, room_id, 1_000)
    assert await _act(server, delay_id, "cancel") == 200
    assert await _act(server, delay_id, "cancel") == 200, "asked again"
    await _settled(clock, 5)
    assert await _member(alice, room_id) == {"call": 1}
    assert await _act(server, delay_id, "send") == 409
    outcome = await _get(alice, f"/delayed_events/{delay_id}")
    assert "finalised_ts" in outcome
    assert not {"event_id", "error"} & set(outcome)


async def test_an_event_can_be_sent_before_it_is_due(server: Server, alice: User, room_id: str) -> None:
    delay_id = await _delay_leave(alice, room_id, 600_000)
    answer = await server.client.request("POST", f"{UNSTABLE}/delayed_events/{delay_id}", json={"action": "send"})
    assert answer.status == 200
    assert await _member(alice, room_id) == LEFT
    assert await _act(server, delay_id, "send") == 200, "asked again"
    assert await _act(server, delay_id, "cancel") == 409
    assert await _act(server, "nobody-knows-it", "send") == 404
    assert await _act(server, delay_id, "explode") == 400


async def test_a_scheduled_message_tells_only_its_sender_the_delay_id(
    server: Server, alice: User, room_id: str, clock: ManualClock
) -> None:
    bob = await server.user("bob")
    await alice.invite(room_id, bob)
    await bob.join(room_id)
    path = f"{UNSTABLE}{path_of('rooms', room_id, 'delayed_event', 'm.room.message', 't1')}"
    body = {"delay_ms": 60_000, "content": {"msgtype": "m.text", "body": "later"}}
    first = (await alice.client.request("PUT", path, json=body)).json
    again = (await alice.client.request("PUT", path, json=body)).json
    assert first == again
    listed = (await _get(alice, "/delayed_events"))["delayed_events"]
    assert [(one["delay_id"], one["delay_ms"], one["content"]) for one in listed] == [
        (first["delay_id"], 60_000, body["content"])
    ]
    assert (await _get(bob, "/delayed_events"))["delayed_events"] == []
    assert (await bob.client.request("GET", f"{UNSTABLE}/delayed_events/{first['delay_id']}")).status == 404
    own = await bob.client.request("POST", f"/_matrix/client/v1/delayed_events/{first['delay_id']}/send", json={})
    assert own.status == 404, "the specified endpoint is for the sender"

    await _settled(clock, 61)
    seen = {}
    for user in (alice, bob):
        newest = (await user.messages(room_id, dir="b", limit="1"))["chunk"][0]
        assert newest["content"] == body["content"]
        seen[user.user_id] = newest["unsigned"].get("org.matrix.msc4140.delay_id")
    assert seen == {alice.user_id: first["delay_id"], bob.user_id: None}


async def test_a_refusal_is_kept_for_the_sender(server: Server, alice: User, room_id: str, clock: ManualClock) -> None:
    delay_id = await _delay_leave(alice, room_id, 5_000)
    await alice.leave(room_id)
    assert await _act(server, delay_id, "send") == 403
    assert len((await _get(alice, "/delayed_events"))["delayed_events"]) == 1, "it stays scheduled"
    await _settled(clock, 6)
    outcome = await _get(alice, f"/delayed_events/{delay_id}")
    assert outcome["error"]["errcode"] == "M_FORBIDDEN"
    assert (await _get(alice, "/delayed_events"))["delayed_events"] == []


async def test_delays_and_their_number_are_bounded(server: Server, alice: User, room_id: str) -> None:
    path = path_of("rooms", room_id, "state", MEMBER, alice.user_id)
    too_long = await alice.ask("PUT", path, LEFT, **{"org.matrix.msc4140.delay": "3600001"})
    assert (too_long.status, too_long.json["errcode"]) == (403, "M_FORBIDDEN")
    assert too_long.json["org.matrix.msc4140.max_delay"] == 3_600_000
    assert (await alice.ask("PUT", path, LEFT, **{"org.matrix.msc4140.delay": "0"})).status == 400
    for seconds in (100, 200, 300):
        await _delay_leave(alice, room_id, seconds * 1000)
    full = await alice.ask("PUT", path, LEFT, **{"org.matrix.msc4140.delay": "1000"})
    assert (full.status, full.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert full.headers["retry-after"] == "100"

    capabilities = (await alice.call("GET", "/capabilities"))["capabilities"]
    assert capabilities["org.matrix.msc4140.delayed_events"] == {"max_delay_ms": 3_600_000, "max_scheduled": 3}
    versions = (await server.client.request("GET", "/_matrix/client/versions")).json
    assert versions["unstable_features"]["org.matrix.msc4140"] is True


@pytest.mark.parametrize(("days", "status"), [(6, 200), (8, 404)])
async def test_outcomes_are_forgotten_after_a_while(tmp_path: Path, days: int, status: int) -> None:
    async with running_server(tmp_path, clock=ManualClock()) as server:
        alice = await server.user("alice")
        delay_id = await _delay_leave(alice, await alice.create_room(), 1_000)
        assert await _act(server, delay_id, "cancel") == 200
    later = ManualClock(ManualClock().now_ms() + days * 24 * 3_600_000)
    async with running_server(tmp_path, clock=later) as server:
        await server.homeserver.delayed_events.delivery.forget_old()
        alice = await server.user("alice", device_id="another")
        answer = await alice.client.request("GET", f"{UNSTABLE}/delayed_events/{delay_id}")
        assert answer.status == status


async def test_what_came_due_while_the_server_was_down_is_sent_in_order(tmp_path: Path) -> None:
    async with running_server(tmp_path, clock=ManualClock()) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room()
        for number, delay_ms in (("second", 20_000), ("first", 10_000), ("much later", 7_200_000)):
            path = f"{UNSTABLE}{path_of('rooms', room_id, 'delayed_event', 'm.room.message', number)}"
            content = {"msgtype": "m.text", "body": number}
            answer = await alice.client.request("PUT", path, json={"delay_ms": delay_ms, "content": content})
            assert answer.status == 200
    later = ManualClock(ManualClock().now_ms() + 3_600_000)
    async with running_server(tmp_path, clock=later) as server:
        alice = await server.user("alice", device_id="another")
        await _settled(later, 0)
        newest = (await alice.messages(room_id, dir="b", limit="2"))["chunk"]
        assert [event["content"].get("body") for event in newest] == ["second", "first"]


async def test_turned_off_they_are_refused_and_not_advertised(tmp_path: Path) -> None:
    async with running_server(tmp_path, delayed_events={"max_delay": 0}) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room()
        path = path_of("rooms", room_id, "state", MEMBER, "")
        assert (await alice.ask("PUT", path, LEFT, **{"org.matrix.msc4140.delay": "1000"})).status == 403
        assert (await alice.ask("GET", path)).status == 404, "it was not sent at once either"
        versions = (await server.client.request("GET", "/_matrix/client/versions")).json
        assert versions["unstable_features"]["org.matrix.msc4140"] is False
