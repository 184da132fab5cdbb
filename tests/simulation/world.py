"""Three servers with a bad network between them, and a room in which their users do whatever a seed has them do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from federation.network import FAST, FederatedServer, caught_up
from server_kit import User, settings_for
from simulation.links import Link, Weather
from simulation.simulated_database import copy_of
from simulation.simulated_loop import SimulatedClock, SimulatedLoop

from homeserver.app import Homeserver
from homeserver.protocol.events import StateKey
from homeserver.protocol.identifiers import server_name_of
from homeserver.runtime.randomness import SeededRandomness
from homeserver.services.rooms.room import Room
from homeserver.testing import Answer, path_of
from homeserver_federation.server_discovery import Destination, FixedDiscovery

NAMES = ("alpha.test", "beta.test", "gamma.test")
USERS = ("ann", "ben")
FOUNDER = "@ann:alpha.test"
_STEPS = 16
_ROUNDS_AT_MOST = 8
_LONGEST_QUIET_S = 600
_MEMBER = "m.room.member"


class World:
    """The servers, by name. Everything that is random in them comes from the seed."""

    def __init__(self, folder: Path, template: Path, seed: int) -> None:
        self.weather = Weather()
        self.servers: dict[str, FederatedServer] = {}
        self._folder = folder
        self._template = template
        self._seed = seed
        self._starts = 0
        self._under_way: dict[str, list[asyncio.Task[Answer]]] = {name: [] for name in NAMES}
        self._discovery = FixedDiscovery({name: Destination(name, 80, name, name, scheme="http") for name in NAMES})

    async def start(self, name: str) -> None:
        """Start a server over its database."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        self._starts += 1
        settings = settings_for(
            folder,
            server={"server_name": name, "data_directory": str(folder)},
            federation={**FAST, "retry_at_most": "1s", "trusted_key_servers": ["alpha.test"]},
            presence={"enabled": False},
            plugins=[],
        )
        homeserver = Homeserver(
            settings,
            database=copy_of(self._template, folder / "test.db"),
            clock=SimulatedClock(),
            randomness=SeededRandomness(f"{self._seed} {name} {self._starts}"),
            discovery=self._discovery,
            federation_http=Link(name, self.weather, self._deliver),
        )
        await homeserver.start()
        self.servers[name] = FederatedServer(name, homeserver, 0)

    async def stop(self, name: str) -> None:
        """Stop a server; the requests to it that are under way end without an answer."""
        server = self.servers.pop(name)
        for task in self._under_way.pop(name):
            task.cancel()
        self._under_way[name] = []
        await server.homeserver.stop()

    async def restart(self, name: str) -> None:
        await self.stop(name)
        await self.start(name)

    def _deliver(
        self, target: str, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> asyncio.Task[Answer] | None:
        if target not in self.servers:
            return None
        client = self.servers[target].client
        task = asyncio.create_task(client.request(method, path, body=body, headers=headers))
        self._under_way[target] = [one for one in self._under_way[target] if not one.done()] + [task]
        return task


class Story:
    """One seed: a room of one version, a storm, and what happens in it."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.seed = seed
        self.random = Random(seed)
        self.version = self.random.choice(["2", "6", "10", "11", "12"])
        self.room_id = ""
        self.log: list[str] = []
        self.acknowledged: list[str] = []
        self.closing: list[tuple[str, str]] = []

    @property
    def course(self) -> str:
        """A digest of all that happened: the same for the same seed."""
        return hashlib.sha256("\n".join(self.log).encode()).hexdigest()[:16]

    async def run(self) -> None:
        """Everything, up to the end at which all servers must agree."""
        founder = await self._user("alpha.test", "ann")
        self.room_id = await founder.create_room(preset="public_chat", room_version=self.version)
        levels = await founder.call("GET", self._state("m.room.power_levels"))
        levels.setdefault("users", {}).update({"@ann:beta.test": 75, "@ann:gamma.test": 75, "@ben:gamma.test": 50})
        await founder.set_state(self.room_id, "m.room.power_levels", levels)
        for name in NAMES[1:]:
            for localpart in USERS[: self.random.choice([1, 2])]:
                user = await self._user(name, localpart)
                await user.call("POST", path_of("join", self.room_id), {}, via="alpha.test")
        self.world.weather.storm(self.seed)
        for _ in range(_STEPS):
            await asyncio.gather(*(self._act(name) for name in NAMES))
            await self._change_of_weather()
        self.world.weather.calm()
        self.log.append("the weather is calm")
        await self._agree()

    async def _act(self, name: str) -> None:
        """Something a user of a server does. It may be refused: not everybody may do everything."""
        user = await self._user(name, self.random.choice(USERS))
        kind = self.random.choice(
            [
                "say",
                "say",
                "say",
                "topic",
                "name",
                "join",
                "join",
                "leave",
                "invite",
                "kick",
                "ban",
                "power",
                "redact",
                "rule",
            ]
        )
        other = f"@{self.random.choice(USERS)}:{self.random.choice(NAMES)}"
        if FOUNDER in {user.user_id, other} and kind in {"leave", "kick", "ban", "power"}:
            kind = "say"
        number = str(self.random.randrange(1000))
        answer = await self._do(kind, user, other, number)
        self._note(f"{user.user_id} {kind} {other}", answer)

    async def _do(self, kind: str, user: User, other: str, number: str) -> Answer:
        rooms = ("rooms", self.room_id)
        match kind:
            case "topic" | "name":
                return await user.ask("PUT", self._state(f"m.room.{kind}"), {kind: f"{user.user_id} {number}"})
            case "join":
                return await user.ask("POST", path_of("join", self.room_id), {}, via="alpha.test")
            case "leave":
                return await user.ask("POST", path_of(*rooms, "leave"), {})
            case "invite" | "kick" | "ban":
                return await user.ask("POST", path_of(*rooms, kind), {"user_id": other})
            case "power":
                answer = await user.ask("GET", self._state("m.room.power_levels"))
                if answer.status != 200:
                    return answer
                levels = answer.json
                levels.setdefault("users", {})[other] = self.random.choice([0, 25, 50, 60])
                return await user.ask("PUT", self._state("m.room.power_levels"), levels)
            case "redact":
                page = await user.ask("GET", path_of(*rooms, "messages"), dir="b", limit="5")
                events = page.json["chunk"] if page.status == 200 else []
                for event in events[-1:]:
                    path = path_of(*rooms, "redact", event["event_id"], f"{self.seed}-{number}")
                    return await user.ask("PUT", path, {})
                return page
            case "rule":
                rule = self.random.choice(["public", "public", "invite"])
                return await user.ask("PUT", self._state("m.room.join_rules"), {"join_rule": rule})
            case _:
                body = {"msgtype": "m.text", "body": number}
                return await user.ask("PUT", path_of(*rooms, "send", "m.room.message", f"{self.seed}-{number}"), body)

    def _note(self, deed: str, answer: Answer) -> None:
        event_id = answer.json.get("event_id") if answer.status == 200 else None
        if event_id is not None:
            self.acknowledged.append(event_id)
        when = asyncio.get_running_loop().time()
        self.log.append(f"{when:.3f} {deed}: {answer.status} {event_id or answer.json.get('error', '')}")

    async def _change_of_weather(self) -> None:
        weather, dice = self.world.weather, self.random.random()
        if dice < 0.15:
            one, other = self.random.sample(NAMES, 2)
            weather.cut.add(frozenset((one, other)))
            self.log.append(f"{one} and {other} are cut off from each other")
        elif dice < 0.35:
            weather.cut.clear()
        elif dice < 0.4:
            name = self.random.choice(NAMES[1:])
            self.log.append(f"{name} is restarted")
            await self.world.restart(name)
        await asyncio.sleep(self.random.choice([0.02, 0.02, 1, 30]) * self.random.random())

    async def _agree(self) -> None:
        """All that was queued arrives; then each server speaks, until the graph has one end everywhere."""
        for number in range(_ROUNDS_AT_MOST):
            await self._quiet()
            if number > 1 and await self._have_one_end():
                break
            for name in reversed(await self._believing()):
                await self._speak(name, f"closing {number}")
                await asyncio.sleep(self.random.choice([0, 1]))
        await self._quiet()
        await self._has_all("alpha.test", self.acknowledged)
        residents = await self._residents()
        closing = [event_id for event_id, name in self.closing if name in residents]
        for name in residents:
            await self._has_all(name, closing)
        states = {name: await self._current_state(name) for name in residents}
        first = states.pop("alpha.test")
        for name, state in states.items():
            different = {key for key in first.keys() | state.keys() if first.get(key) != state.get(key)}
            assert not different, f"alpha.test and {name} disagree about {different}"

    async def _speak(self, name: str, text: str) -> None:
        room = await self._room(name)
        joined = sorted(user_id for user_id, membership in room.local_members.items() if membership == "join")
        user = await self._user(name, joined[0][1:].partition(":")[0])
        path = path_of("rooms", self.room_id, "send", "m.room.message", f"{text} {name}")
        answer = await user.ask("PUT", path, {"msgtype": "m.text", "body": text})
        self._note(f"{user.user_id} {text}", answer)
        if answer.status == 200:
            self.closing.append((answer.json["event_id"], name))

    async def _quiet(self) -> None:
        """Wait until nothing is under way, and no server has something to try again."""
        async with asyncio.timeout(_LONGEST_QUIET_S):
            while not await self._is_quiet():
                await asyncio.sleep(0.5)

    async def _is_quiet(self) -> bool:
        for server in self.world.servers.values():
            running = server.homeserver.background.running
            if not await caught_up(server) or "receive-again" in running:
                return False
            if server.federation.sender._queues:
                return False
        return True

    async def _has_all(self, name: str, event_ids: list[str]) -> None:
        found = await self.world.servers[name].homeserver.rooms.events.get_many(event_ids)
        lost = [one for one in event_ids if one not in found or found[one].position is None]
        assert not lost, f"{lost} have not come to {name}"

    async def _have_one_end(self) -> bool:
        ends = set()
        for name in await self._residents():
            ends.add(tuple(sorted(end.event_id for end in (await self._room(name)).extremities)))
        return len(ends) == 1 and len(next(iter(ends))) == 1

    async def _residents(self) -> list[str]:
        """The servers that are in the room, as they and the founder's server believe.

        They may differ for ever: who was put out need not see the right to it, and is told no more. But never because
        something got lost: each must have what the other's belief rests on.
        """
        alpha = self.world.servers["alpha.test"]
        theirs = await alpha.federation.of_rooms.joined.of(await self._room("alpha.test"))
        ours = await self._believing()
        for name in NAMES[1:]:
            if (name in theirs) != (name in ours):
                await self._both_know_why(name)
        return [name for name in ours if name in theirs]

    async def _both_know_why(self, name: str) -> None:
        believed = await self._members("alpha.test", name), await self._members(name, name)
        for user in believed[0].keys() | believed[1].keys():
            there, here = (members.get(user) for members in believed)
            if there is not None and await self._entered_in_vain(name, there):
                continue
            if there != here:
                await self._has_all("alpha.test", [here] if here else [])
                await self._has_all(name, [there] if there else [])

    async def _entered_in_vain(self, name: str, event_id: str) -> bool:
        """Whether it is a join of a server's own that it was never told of the success of: nobody acknowledged it."""
        stored = await self.world.servers["alpha.test"].homeserver.rooms.events.find(event_id)
        is_known = await self.world.servers[name].homeserver.rooms.events.find(event_id) is not None
        if stored is None or is_known:
            return False
        return stored.event.membership == "join" and server_name_of(stored.event.sender) == name

    async def _members(self, name: str, of_server: str) -> dict[str, str]:
        state = await self._current_state(name)
        return {
            key: event_id
            for (kind, key), event_id in state.items()
            if kind == _MEMBER and server_name_of(key) == of_server
        }

    async def _believing(self) -> list[str]:
        """The servers that believe themselves in the room."""
        joined = []
        for name in NAMES:
            room = await self.world.servers[name].homeserver.rooms.rooms.find(self.room_id)
            if room is not None and "join" in room.local_members.values():
                joined.append(name)
        return joined

    async def _current_state(self, name: str) -> dict[StateKey, str]:
        return dict((await self._room(name)).state)

    async def _room(self, name: str) -> Room:
        return await self.world.servers[name].homeserver.rooms.rooms.get(self.room_id)

    async def _user(self, name: str, localpart: str) -> User:
        return await self.world.servers[name].user(localpart, device_id="PHONE")

    def _state(self, event_type: str) -> str:
        return path_of("rooms", self.room_id, "state", event_type, "")


def tell(seed: int, folder: Path, template: Path, look: Callable[[Story], Any] = lambda story: None) -> Story:
    """Run the story of a seed in time of its own. Raises with the story's log in the error's notes."""
    loop = SimulatedLoop()
    world = World(folder, template, seed)
    story = Story(world, seed)

    async def run() -> None:
        for name in NAMES:
            await world.start(name)
        try:
            await story.run()
            look(story)
        finally:
            for name in list(world.servers):
                await world.stop(name)

    try:
        loop.run(run())
    except Exception as error:
        error.add_note("\n".join([f"seed {seed}, room version {story.version}:", *story.log]))
        raise
    return story
