"""A sliding sync connection as a test holds it: what it asks for, and the token of the last answer."""

from __future__ import annotations

from typing import Any

from server_kit import User

from homeserver.testing import Answer

DEPLOYED = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
ACCEPTED = "/_matrix/client/v4/sync"


def listing(*ranges: tuple[int, int], limit: int = 10, state: list[Any] | None = None, **filters: Any) -> Any:
    """A list in the deployed dialect; without ranges it is the whole list."""
    wanted: dict[str, Any] = {"timeline_limit": limit, "required_state": state or [], "filters": filters}
    return {**wanted, "ranges": [list(bounds) for bounds in ranges]} if ranges else wanted


class Sliding:
    """A connection in the deployed dialect. What is asked for stays until it is replaced."""

    def __init__(self, user: User, name: str = "", **body: Any) -> None:
        self.user = user
        self.body: dict[str, Any] = {"conn_id": name, **body}
        self.pos: str | None = None

    async def ask(self, timeout_ms: int = 0, pos: str | None = None, **body: Any) -> Answer:
        """The answer, whatever it is; the connection goes on from where it was."""
        self.body |= body
        query = {"timeout": str(timeout_ms)}
        if pos or self.pos:
            query["pos"] = pos or self.pos or ""
        return await self.user.client.request("POST", DEPLOYED, json=self.body, query=query)

    async def sync(self, timeout_ms: int = 0, pos: str | None = None, **body: Any) -> Any:
        """The JSON of an answer that must be a 200; the connection goes on from it."""
        answer = await self.ask(timeout_ms, pos, **body)
        assert answer.status == 200, answer.body
        self.pos = answer.json["pos"]
        return answer.json


def bodies(room: Any) -> list[Any]:
    """What the messages in a room's timeline say."""
    return [event["content"].get("body") for event in room.get("timeline", ()) if event["type"] == "m.room.message"]


def state_of(room: Any) -> set[tuple[str, str]]:
    """The keys of a room's required state."""
    return {(event["type"], event["state_key"]) for event in room.get("required_state", ())}
