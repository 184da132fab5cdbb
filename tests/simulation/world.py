"""Three servers with a bad network between them, and a room in which their users do whatever a seed has them do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from federation.network import FederatedServer, Network, caught_up, eventually, place
from server_kit import User
from simulation.links import Link, Weather

from homeserver.protocol.events import StateKey
from homeserver.testing import path_of
from homeserver_federation.server_discovery import FixedDiscovery

NAMES = ("alpha.test", "beta.test", "gamma.test")
USERS = ("ann", "ben")
_STEPS = 12
_IMPATIENCE_S = 20
_PATIENCE_WITH_BELIEVERS_S = 4


class World(Network):
    """A network whose servers find each other through links."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.weather = Weather()
        self.links: list[Link] = []
        self._discoveries: dict[str, FixedDiscovery] = {name: FixedDiscovery({}) for name in NAMES}

    def _homeserver(self, name: str, sections: dict[str, Any]) -> Any:
        self.discovery, shared = self._discoveries[name], self.discovery
        try:
            return super()._homeserver(name, sections)
        finally:
            self.discovery = shared

    async def begin(self) -> None:
        """Start the servers, and lay the links between them."""
        for name in NAMES:
            await self.add(name)
        for source in NAMES:
            for target in NAMES:
                if source != target:
                    link = Link(source, target, self.servers[target].port, self.weather)
                    await link.open()
                    self.links.append(link)
                    self._discoveries[source].places[target] = place(target, link.port)

    async def stop(self) -> None:
        for link in self.links:
            await link.close()
        await super().stop()


@asynccontextmanager
async def running_world(folder: Path) -> AsyncIterator[World]:
    world = World(folder)
    try:
        await world.begin()
        yield world
    finally:
        await world.stop()


class Story:
    """One seed: a room of one version, a storm, and what happens in it."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.seed = seed
        self.random = Random(seed)
        self.version = self.random.choice(["2", "6", "10", "11", "12"])
        self.room_id = ""
        self.log: list[str] = []
        self.apart: set[str] = set()

    async def run(self) -> None:
        """Everything, up to the end at which all servers must agree."""
        founder = await self._user("alpha.test", "ann")
        self.room_id = await founder.create_room(preset="public_chat", room_version=self.version)
        levels = await founder.call("GET", self._state("m.room.power_levels"))
        levels.setdefault("users", {}).update({"@ann:beta.test": 75, "@ben:gamma.test": 50})
        await founder.set_state(self.room_id, "m.room.power_levels", levels)
        for name in NAMES[1:]:
            user = await self._user(name, "ann")
            await user.call("POST", path_of("join", self.room_id), {}, via="alpha.test")
        self.world.weather.storm(self.seed)
        for _ in range(_STEPS):
            await asyncio.gather(*(self._act(name) for name in NAMES))
            await self._change_of_weather()
        self.world.weather.calm()
        await self._agree()

    async def _act(self, name: str) -> None:
        """Something a user of a server does. It may be refused: not everybody may do everything."""
        user = await self._user(name, self.random.choice(USERS))
        kind = self.random.choice(
            ["say", "say", "say", "topic", "name", "join", "leave", "invite", "kick", "ban", "power", "redact", "rule"]
        )
        other = f"@{self.random.choice(USERS)}:{self.random.choice(NAMES)}"
        if "@ann:alpha.test" in {user.user_id, other} and kind in {"leave", "kick", "ban", "power"}:
            kind = "say"
        self.log.append(f"{user.user_id} {kind} {other}")
        number = str(self.random.randrange(1000))
        rooms = ("rooms", self.room_id)
        match kind:
            case "say":
                body = {"msgtype": "m.text", "body": number}
                await user.ask("PUT", path_of(*rooms, "send", "m.room.message", f"{self.seed}-{number}"), body)
            case "topic" | "name":
                await user.ask("PUT", self._state(f"m.room.{kind}"), {kind: f"{user.user_id} {number}"})
            case "join":
                await user.ask("POST", path_of("join", self.room_id), {}, via="alpha.test")
            case "leave":
                await user.ask("POST", path_of(*rooms, "leave"), {})
            case "invite" | "kick" | "ban":
                await user.ask("POST", path_of(*rooms, kind), {"user_id": other})
            case "power":
                answer = await user.ask("GET", self._state("m.room.power_levels"))
                if answer.status == 200:
                    levels = answer.json
                    levels.setdefault("users", {})[other] = self.random.choice([0, 25, 50, 60])
                    await user.ask("PUT", self._state("m.room.power_levels"), levels)
            case "redact":
                page = await user.ask("GET", path_of(*rooms, "messages"), dir="b", limit="5")
                events = page.json["chunk"] if page.status == 200 else []
                for event in events[-1:]:
                    path = path_of(*rooms, "redact", event["event_id"], f"{self.seed}-{number}")
                    await user.ask("PUT", path, {})
            case "rule":
                rule = self.random.choice(["public", "public", "invite"])
                await user.ask("PUT", self._state("m.room.join_rules"), {"join_rule": rule})

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
        await asyncio.sleep(self.random.uniform(0, 0.02))

    async def _agree(self) -> None:
        """All that was queued arrives; then each server says something, until the graph has one end everywhere."""
        async with asyncio.timeout(4 * _IMPATIENCE_S):
            for server in self.world.servers.values():
                await eventually(lambda server=server: caught_up(server), _IMPATIENCE_S)
            await self._find_out_who_is_in()
            for number in range(6):
                await self._user_says(f"{self.seed} closing {number}")
                if number and await self._have_one_end():
                    break
        states = {name: await self._readable_state(name) for name in await self._residents()}
        first = states.pop("alpha.test")
        for name, state in states.items():
            different = {key for key in first.keys() | state.keys() if first.get(key) != state.get(key)}
            assert not different, f"alpha.test and {name} disagree about {different}"

    async def _user_says(self, text: str) -> None:
        """Somebody of each server in the room speaks, the founder last; all hear it."""
        for name in reversed(await self._residents()):
            room = await self.world.servers[name].homeserver.rooms.rooms.get(self.room_id)
            joined = [user_id for user_id, membership in room.local_members.items() if membership == "join"]
            user = await self._user(name, joined[0][1:].partition(":")[0])
            path = path_of("rooms", self.room_id, "send", "m.room.message", f"{text} {name}")
            answer = await user.ask("PUT", path, {"msgtype": "m.text", "body": text})
            if answer.status == 200:
                await self._arrives(answer.json["event_id"])

    async def _arrives(self, event_id: str) -> None:
        missing: list[str] = []

        async def is_everywhere() -> bool:
            missing.clear()
            for name in await self._residents():
                stored = await self.world.servers[name].homeserver.rooms.events.find(event_id)
                if stored is None or stored.position is None:
                    missing.append(name)
            return not missing

        try:
            await eventually(is_everywhere, _IMPATIENCE_S)
        except TimeoutError:
            raise AssertionError(f"{event_id} has not come to {missing}") from None

    async def _have_one_end(self) -> bool:
        ends = set()
        for name in await self._residents():
            room = await self.world.servers[name].homeserver.rooms.rooms.get(self.room_id)
            ends.add(tuple(sorted(end.event_id for end in room.extremities)))
        return len(ends) == 1 and len(next(iter(ends))) == 1

    async def _find_out_who_is_in(self) -> None:
        """Wait a while until servers believe to be in the room just if the founder's server believes it of them.

        It need not come to that: a join that is soft-failed elsewhere, or a ban that nobody may explain to those it
        puts out, leaves a server alone with its belief. Then it has no part in what the others agree about.
        """
        with suppress(TimeoutError):
            await eventually(self._know_who_is_in, _PATIENCE_WITH_BELIEVERS_S)
        believing, known = await self._believing(), await self._known_to_the_founder()
        if believing != known:
            self.log.append(f"{believing} believe to be in the room, the founder's server knows of {known}")
        self.apart = set(NAMES) - set(known)

    async def _know_who_is_in(self) -> bool:
        return await self._believing() == await self._known_to_the_founder()

    async def _known_to_the_founder(self) -> list[str]:
        alpha = self.world.servers["alpha.test"]
        room = await alpha.homeserver.rooms.rooms.get(self.room_id)
        return sorted(await alpha.federation.of_rooms.joined.of(room))

    async def _residents(self) -> list[str]:
        """The servers that believe to be in the room, and are not known to be alone with that."""
        return [name for name in await self._believing() if name not in self.apart]

    async def _believing(self) -> list[str]:
        joined = []
        for name in NAMES:
            room = await self.world.servers[name].homeserver.rooms.rooms.find(self.room_id)
            if room is not None and "join" in room.local_members.values():
                joined.append(name)
        return joined

    async def _readable_state(self, name: str) -> dict[StateKey, str]:
        room = await self.world.servers[name].homeserver.rooms.rooms.get(self.room_id)
        return dict(room.state)

    async def _user(self, name: str, localpart: str) -> User:
        server: FederatedServer = self.world.servers[name]
        user = await server.user(localpart, device_id="PHONE")
        user._numbers = [0]
        return user

    def _state(self, event_type: str) -> str:
        return path_of("rooms", self.room_id, "state", event_type, "")
