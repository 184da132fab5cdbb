"""What the tests of rooms across servers have in common: users on several servers, and waiting for what they see."""

from __future__ import annotations

from typing import Any

from federation.network import FederatedServer, Network, eventually
from server_kit import User

from homeserver.protocol.events import StateKey
from homeserver.services.rooms.room import Room
from homeserver.testing import path_of

VERSIONS = ("6", "10", "11", "12")


async def two_servers(network: Network) -> tuple[FederatedServer, FederatedServer]:
    """`alpha.test` and `beta.test`."""
    return await network.add("alpha.test"), await network.add("beta.test")


async def public_room(user: User, version: str = "12", **wanted: Any) -> str:
    """A room that everybody may join."""
    return await user.create_room(preset="public_chat", room_version=version, **wanted)


async def join_via(user: User, room_id: str, server: FederatedServer) -> None:
    """Join a room through a server."""
    await user.call("POST", path_of("join", room_id), {}, via=server.name)


async def invite(user: User, room_id: str, user_id: str) -> None:
    await user.call("POST", path_of("rooms", room_id, "invite"), {"user_id": user_id})


async def said(user: User, room_id: str) -> list[str]:
    """All messages of a room, oldest first, as far as the user's server has them."""
    page = await user.messages(room_id, dir="b", limit="100")
    return [event["content"].get("body", "") for event in page["chunk"][::-1] if event["type"] == "m.room.message"]


async def hears(user: User, room_id: str, text: str) -> None:
    """Wait until a message has arrived."""

    async def has_arrived() -> bool:
        return text in await said(user, room_id)

    await eventually(has_arrived)


async def sees_state(user: User, room_id: str, key: StateKey, **content: Any) -> None:
    """Wait until the room's state says so."""

    async def is_so() -> bool:
        answer = await user.ask("GET", path_of("rooms", room_id, "state", *key))
        return answer.status == 200 and all(answer.json.get(name) == value for name, value in content.items())

    await eventually(is_so)


async def sees_member(user: User, room_id: str, user_id: str, membership: str) -> None:
    """Wait until somebody's membership is that."""
    await sees_state(user, room_id, ("m.room.member", user_id), membership=membership)


async def room_of(server: FederatedServer, room_id: str) -> Room:
    return await server.homeserver.rooms.rooms.get(room_id)


async def agree(room_id: str, *servers: FederatedServer) -> None:
    """Wait until the servers have the same ends of the graph, then see that they have the same state."""

    async def same_ends() -> bool:
        ends = [{end.event_id for end in (await room_of(server, room_id)).extremities} for server in servers]
        return all(other == ends[0] for other in ends)

    await eventually(same_ends)
    states = [(await room_of(server, room_id)).state for server in servers]
    assert all(state == states[0] for state in states)
