"""The call log, read off the events that clients send: calls of two people, sessions of many, and what users delete."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from plugin_kit import server_with
from server_kit import Server, User

from homeserver.runtime.clock import ManualClock

CALLS = "/_starling/client/v1/calls"
START = 1_700_000_000_000
RTC = "org.matrix.msc3401.call.member"


@dataclass
class Scene:
    server: Server
    clock: ManualClock
    alice: User
    bob: User
    cleo: User
    room_id: str

    async def log_of(self, user: User, query: str = "") -> Any:
        await self.server.homeserver.followers.caught_up("plugin call_log")
        answer = await user.client.get(CALLS + query)
        assert answer.status == 200, answer.body
        return answer.json

    async def only_call(self, user: User) -> Any:
        (call,) = (await self.log_of(user))["calls"]
        return call

    async def invite(self, call_id: str = "c1", **content: Any) -> None:
        offer = {"type": "offer", "sdp": "v=0 m=audio"}
        await self.call(self.alice, "invite", call_id, lifetime=60_000, offer=offer, **content)

    async def call(self, user: User, what: str, call_id: str = "c1", **content: Any) -> None:
        body = {"call_id": call_id, "version": "1", "party_id": "p", **content}
        await user.send(self.room_id, f"m.call.{what}", body)

    async def attend(self, user: User, joined: bool, device: str = "D") -> None:
        content = {"application": "m.call", "expires": 600_000, "created_ts": self.clock.now_ms()} if joined else {}
        await user.set_state(self.room_id, RTC, content, f"_{user.user_id}_{device}")

    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = ManualClock(START)
    async with server_with(tmp_path, "call_log", clock=clock) as server:
        alice, bob, cleo = await server.users("alice", "bob", "cleo")
        levels = {"users": {alice.user_id: 100}, "events": {RTC: 0}}
        room_id = await alice.create_room(
            invite=[bob.user_id, cleo.user_id], power_level_content_override=levels, room_version="10"
        )
        await bob.join(room_id)
        yield Scene(server, clock, alice, bob, cleo, room_id)


async def test_a_call_that_was_answered(scene: Scene) -> None:
    await scene.invite()
    assert (await scene.only_call(scene.alice))["outcome"] == "ringing"
    assert (await scene.only_call(scene.bob))["outcome"] == "ringing"
    await scene.pass_time(5)
    await scene.call(scene.bob, "answer")
    assert (await scene.only_call(scene.bob))["outcome"] == "ongoing"
    await scene.pass_time(60)
    await scene.call(scene.alice, "hangup")
    await scene.pass_time(10)
    mine, theirs = await scene.only_call(scene.alice), await scene.only_call(scene.bob)
    assert mine == {
        "id": mine["id"],
        "room_id": scene.room_id,
        "kind": "call",
        "video": False,
        "direction": "outgoing",
        "caller": "@alice:example.org",
        "participants": ["@alice:example.org", "@bob:example.org"],
        "started_ts": START,
        "ended_ts": START + 65_000,
        "duration_ms": 60_000,
        "outcome": "completed",
    }
    assert theirs == {**mine, "direction": "incoming"}
    assert (await scene.log_of(scene.cleo))["calls"] == []


async def test_a_call_nobody_answers_is_missed_when_its_time_is_over(scene: Scene) -> None:
    await scene.invite()
    await scene.pass_time(61)
    mine, theirs = await scene.only_call(scene.alice), await scene.only_call(scene.bob)
    assert (mine["outcome"], theirs["outcome"], theirs["ended_ts"]) == ("unanswered", "missed", START + 60_000)
    assert "duration_ms" not in theirs


@pytest.mark.parametrize("what", ["reject", "hangup"])
async def test_a_call_that_was_declined(scene: Scene, what: str) -> None:
    await scene.invite()
    await scene.call(scene.bob, what)
    await scene.call(scene.bob, "answer")
    assert (await scene.only_call(scene.alice))["outcome"] == "declined"
    assert (await scene.only_call(scene.bob))["outcome"] == "declined"


async def test_a_call_taken_back_is_missed_by_the_other(scene: Scene) -> None:
    await scene.invite()
    await scene.pass_time(3)
    await scene.call(scene.alice, "hangup")
    assert (await scene.only_call(scene.alice))["outcome"] == "cancelled"
    assert (await scene.only_call(scene.bob))["outcome"] == "missed"


async def test_in_a_group_another_may_answer_or_be_the_one_who_is_called(scene: Scene) -> None:
    await scene.cleo.join(scene.room_id)
    await scene.invite()
    await scene.call(scene.cleo, "answer")
    assert (await scene.only_call(scene.bob))["outcome"] == "answered_by_other"
    await scene.call(scene.bob, "hangup")
    assert (await scene.only_call(scene.cleo))["outcome"] == "ongoing"
    await scene.invite("c2", invitee=scene.cleo.user_id)
    assert len((await scene.log_of(scene.bob))["calls"]) == 1
    assert len((await scene.log_of(scene.cleo))["calls"]) == 2


async def test_a_session_of_many(scene: Scene) -> None:
    await scene.cleo.join(scene.room_id)
    await scene.attend(scene.alice, True)
    await scene.pass_time(10)
    await scene.attend(scene.bob, True, "PHONE")
    await scene.attend(scene.bob, True, "LAPTOP")
    await scene.pass_time(20)
    await scene.attend(scene.bob, False, "PHONE")
    assert (await scene.only_call(scene.bob))["outcome"] == "ongoing"
    await scene.pass_time(30)
    await scene.attend(scene.bob, False, "LAPTOP")
    theirs = await scene.only_call(scene.bob)
    assert (theirs["kind"], theirs["outcome"], theirs["duration_ms"]) == ("session", "completed", 50_000)
    assert (await scene.only_call(scene.cleo))["outcome"] == "ringing"
    await scene.attend(scene.alice, False)
    mine = await scene.only_call(scene.alice)
    assert (mine["outcome"], mine["duration_ms"], mine["direction"]) == ("completed", 60_000, "outgoing")
    assert (await scene.only_call(scene.cleo))["outcome"] == "missed"
    await scene.attend(scene.bob, True)
    assert len((await scene.log_of(scene.bob))["calls"]) == 2


async def test_a_session_is_declined_or_lapses(scene: Scene) -> None:
    await scene.attend(scene.alice, True)
    await scene.bob.send(scene.room_id, "org.matrix.msc4310.rtc.decline", {"m.relates_to": {"event_id": "$e"}})
    assert (await scene.only_call(scene.bob))["outcome"] == "declined"
    await scene.pass_time(601)
    mine = await scene.only_call(scene.alice)
    assert (mine["outcome"], mine["duration_ms"]) == ("completed", 600_000)
    await scene.attend(scene.alice, True)
    assert len((await scene.log_of(scene.alice))["calls"]) == 2


async def test_pages_and_deletions(scene: Scene) -> None:
    for number in range(5):
        await scene.invite(f"c{number}")
        await scene.pass_time(100)
    page = await scene.log_of(scene.bob, "?limit=3")
    rest = await scene.log_of(scene.bob, f"?limit=3&from={page['next_batch']}")
    times = [call["started_ts"] for call in page["calls"] + rest["calls"]]
    assert times == sorted(times, reverse=True)
    assert len(times) == 5
    assert "next_batch" not in rest
    one = page["calls"][0]["id"]
    assert (await scene.bob.client.request("DELETE", f"{CALLS}/{one}")).status == 200
    assert (await scene.bob.client.request("DELETE", f"{CALLS}/{one}")).status == 404
    assert len((await scene.log_of(scene.bob))["calls"]) == 4
    assert (await scene.bob.client.request("DELETE", CALLS)).status == 200
    assert (await scene.log_of(scene.bob))["calls"] == []
    assert len((await scene.log_of(scene.alice))["calls"]) == 5
    assert (await scene.server.client.get(CALLS)).status == 401


async def test_only_so_many_calls_are_kept_for_so_long(tmp_path: Path) -> None:
    clock = ManualClock(START)
    plugin = {"name": "call_log", "settings": {"most_calls": 2, "retention": "10m"}}
    async with server_with(tmp_path, plugin, clock=clock) as server:
        (alice,) = await server.users("alice")
        scene = Scene(server, clock, alice, alice, alice, await alice.create_room())
        for number in range(3):
            await scene.invite(f"c{number}")
        assert len((await scene.log_of(alice))["calls"]) == 2
        await clock.advance(601)
        assert (await scene.log_of(alice))["calls"] == []


async def test_what_is_told_twice_is_noted_once(scene: Scene) -> None:
    await scene.invite()
    await scene.call(scene.bob, "answer")
    await scene.pass_time(60)
    await scene.call(scene.alice, "hangup")
    await scene.attend(scene.alice, True)
    await scene.attend(scene.alice, False)
    before = await scene.log_of(scene.bob)
    plugin: Any = scene.server.homeserver.plugins.plugins.instances["call_log"]
    await plugin._recorder._context.event_log.rewind(0)
    assert await scene.log_of(scene.bob) == before
