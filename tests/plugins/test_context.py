"""What a plugin can do through its context: keep values, look at rooms, act as a user, be told from a position on."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from plugin_kit import server_with
from server_kit import Server, bodies

from homeserver.app import Homeserver
from homeserver.plugin_api import Event, MatrixError, PluginContext, RoomRequest, hookimpl
from homeserver.runtime.clock import ManualClock


class Witness:
    """Keeps its context, and what it is told of events; fails on those that say "poison"."""

    def __init__(self, context: PluginContext) -> None:
        self.context = context
        self.said: list[str] = []
        self.failures = 0

    @hookimpl
    async def on_event(self, event: Event) -> None:
        body = str(event.content.get("body", event.type))
        if body == "poison" or (body == "bitter" and self.failures < 1):
            self.failures += 1
            raise ValueError(body)
        self.said.append(body)


NAME = "plugins_of_test_context:Witness"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def server(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setitem(sys.modules, "plugins_of_test_context", sys.modules[__name__])
    async with server_with(tmp_path, NAME, clock=clock) as running:
        yield running


def witness_of(server: Server) -> Witness:
    plugin_server: Homeserver = server.homeserver  # type: ignore[assignment]
    witness = plugin_server.plugins.plugins.instances[NAME]
    assert isinstance(witness, Witness)
    return witness


async def test_values_are_kept_listed_and_forgotten(server: Server, clock: ManualClock) -> None:
    store = witness_of(server).context.store
    await store.put("a/1", {"deep": [1, None]})
    await store.put("a/2", "two", expires_ms=clock.now_ms() + 1000)
    await store.put("A/3", 3)
    await store.put("a%", 4)
    assert await store.find("a/1") == {"deep": [1, None]}
    assert await store.load("a/") == {"a/1": {"deep": [1, None]}, "a/2": "two"}
    assert set(await store.load()) == {"a/1", "a/2", "A/3", "a%"}
    await clock.advance(1.1)
    assert await store.find("a/2") is None
    assert set(await store.load("a/")) == {"a/1"}
    await store.delete("a/1")
    assert await store.find("a/1") is None


async def test_of_several_who_claim_a_key_one_wins(server: Server, clock: ManualClock) -> None:
    store = witness_of(server).context.store
    won = await asyncio.gather(*[store.put_new("name", number) for number in range(5)])
    assert sorted(won) == [False, False, False, False, True]
    assert await store.find("name") == won.index(True)
    await store.put("other", 1, expires_ms=clock.now_ms())
    assert await store.put_new("other", 2)


async def test_a_plugin_acts_as_a_user(server: Server) -> None:
    context = witness_of(server).context
    alice, bob = await server.users("alice", "bob")
    room_id = await context.rooms.create(RoomRequest(alice.user_id, name="Plugins", alias_localpart="plugins"))
    await context.rooms.invite(alice.user_id, room_id, bob.user_id)
    await context.rooms.join(bob.user_id, room_id)
    await context.rooms.send(bob.user_id, room_id, "m.room.message", {"msgtype": "m.text", "body": "hi"})
    await context.rooms.set_state(alice.user_id, room_id, "m.room.topic", "", {"topic": "news"})
    room = await context.rooms.view(room_id)
    assert (room.room_id, room.joined_count) == (room_id, 2)
    assert dict(room.local_members) == {alice.user_id: "join", bob.user_id: "join"}
    topic = await room.find_state("m.room.topic")
    assert topic is not None
    assert topic.content == {"topic": "news"}
    assert {event.type for event in await room.load_state()} >= {"m.room.create", "m.room.name", "m.room.topic"}
    assert await context.rooms.find_alias("#plugins:example.org") == room_id
    assert await context.rooms.find_alias("#nothing:example.org") is None
    assert await context.rooms.joined_rooms(bob.user_id) == [room_id]
    await context.rooms.leave(bob.user_id, room_id)
    assert await context.rooms.joined_rooms(bob.user_id) == []
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        await context.rooms.send(bob.user_id, room_id, "m.room.message", {"body": "gone"})
    assert bodies((await alice.messages(room_id, dir="b"))["chunk"]) == ["hi"]


async def test_a_plugin_opens_finds_and_closes_accounts(server: Server) -> None:
    accounts = witness_of(server).context.accounts
    assert await accounts.is_free("carol")
    made = await accounts.create("Carol", displayname="Carol", password="correct horse")
    assert (made.user_id, made.kind, made.admin) == ("@carol:example.org", "user", False)
    assert not await accounts.is_free("carol")
    assert not await accounts.is_free("_bridge")
    assert await accounts.has_password(made.user_id)
    assert (await accounts.find_profile(made.user_id))["displayname"] == "Carol"
    await accounts.set_profile_field(made.user_id, "displayname", "C.")
    assert (await accounts.find_profile(made.user_id))["displayname"] == "C."
    token = await accounts.create_login_token(made.user_id)
    login = await server.client.post("/_matrix/client/v3/login", {"type": "m.login.token", "token": token})
    assert login.json["user_id"] == made.user_id
    await accounts.deactivate(made.user_id)
    found = await accounts.find(made.user_id)
    assert found is not None
    assert found.deactivated
    assert await accounts.find("@nobody:example.org") is None


async def test_jobs_run_again_and_again(server: Server, clock: ManualClock) -> None:
    runs: list[int] = []

    async def job() -> None:
        runs.append(len(runs))
        if len(runs) == 1:
            raise ValueError("a failure is only logged")

    witness_of(server).context.jobs.run_every("count", 60, job)
    await clock.advance(121)
    assert runs == [0, 1]


async def test_a_failure_is_told_again_and_poison_passed_over_in_the_end(server: Server, clock: ManualClock) -> None:
    witness = witness_of(server)
    alice = await server.user("alice")
    room_id = await alice.create_room()
    for text in ("sweet", "bitter", "poison", "late"):
        await alice.say(room_id, text)
    async with asyncio.timeout(10):
        while "late" not in witness.said:
            await asyncio.sleep(0.005)
            await clock.advance(61)
    told = [text for text in witness.said if not text.startswith("m.room.")]
    assert told == ["sweet", "bitter", "late"]
    assert witness.failures == 11
