"""A played server with a user in a real server's room: makes whatever events it likes, signed with its real key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from aiohttp import web
from federation.network import FakeServer, FederatedServer, Network

from homeserver.protocol.event_builder import EventDraft, auth_state_keys, build_event
from homeserver.protocol.event_hashes import hash_and_sign
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.room_versions import RoomVersion, get_room_version
from homeserver.testing import path_of

_V1, _V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
_numbers = count()


class Visitor:
    """`@eve` of a played server, joined to a room. `tips` are what its next event follows on."""

    def __init__(self, fake: FakeServer, host: FederatedServer, room_id: str) -> None:
        self.fake = fake
        self.host = host
        self.room_id = room_id
        self.user_id = f"@eve:{fake.name}"
        self.version: RoomVersion
        self.state: dict[StateKey, Event] = {}
        self.known: dict[str, Event] = {}
        self.tips: list[Event] = []
        self.served: list[str] = []

    async def join(self) -> Event:
        """The handshake, as any server does it."""
        query = "&".join(f"ver={number}" for number in range(1, 13))
        status, template = await self.fake.ask(
            self.host, "GET", _V1 + path_of("make_join", self.room_id, self.user_id) + "?" + query
        )
        assert status == 200, template
        self.version = get_room_version(template["room_version"])
        pdu = {key: value for key, value in template["event"].items() if key != "origin"}
        if self.version.identifier in {"1", "2"}:
            pdu["event_id"] = f"$join{next(_numbers)}:{self.fake.name}"
        signed, event_id = hash_and_sign(pdu, self.version, self.fake.name, self.fake.key)
        joined = Event(signed, self.version, event_id)
        status, answer = await self.fake.ask(
            self.host, "PUT", _V2 + path_of("send_join", self.room_id, event_id), signed
        )
        assert status == 200, answer
        for one in answer["state"]:
            event = Event(one, self.version)
            self.state[event.key] = event
        self.remember([Event(one, self.version) for one in [*answer["state"], *answer["auth_chain"]]])
        self.state[joined.key] = joined
        self.remember([joined])
        self.tips = [joined]
        return joined

    def remember(self, events: Sequence[Event]) -> None:
        self.known.update((event.event_id, event) for event in events)

    def make(
        self,
        event_type: str,
        content: dict[str, Any],
        state_key: str | None = None,
        *,
        after: Sequence[Event] | None = None,
        sender: str | None = None,
        redacts: str | None = None,
        auth_events: Sequence[Event] | None = None,
        **changed: Any,
    ) -> Event:
        """An event after the tips, not sent. `changed` replaces keys of the PDU before it is hashed and signed."""
        draft = EventDraft(self.room_id, event_type, sender or self.user_id, content, state_key, redacts)
        held = [self.state[key] for key in auth_state_keys(draft, self.version) if key in self.state]
        event = build_event(
            draft,
            self.version,
            prev_events=self.tips if after is None else after,
            auth_events=held if auth_events is None else auth_events,
            origin_server_ts=self.host.homeserver.clock.now_ms(),
            server_name=self.fake.name,
            signing_key=self.fake.key,
            event_localpart=f"e{next(_numbers)}",
        )
        if changed:
            pdu = {key: value for key, value in {**event.pdu, **changed}.items() if key not in {"hashes", "signatures"}}
            event = Event(*self._signed(pdu))
        self.remember([event])
        return event

    def _signed(self, pdu: dict[str, Any]) -> tuple[dict[str, Any], RoomVersion, str]:
        signed, event_id = hash_and_sign(pdu, self.version, self.fake.name, self.fake.key)
        return signed, self.version, event_id

    def say(self, text: str, **more: Any) -> Event:
        """A message after the tips, which it becomes."""
        event = self.make("m.room.message", {"msgtype": "m.text", "body": text}, **more)
        self.tips = [event]
        return event

    async def send(
        self, *pdus: Event | Mapping[str, Any], edus: Sequence[Mapping[str, Any]] = (), transaction: str | None = None
    ) -> dict[str, Any]:
        """The results of a transaction by event ID."""
        plain = [one.pdu if isinstance(one, Event) else one for one in pdus]
        body = {"origin": self.fake.name, "origin_server_ts": 1, "pdus": plain, "edus": list(edus)}
        name = transaction or f"t{next(_numbers)}"
        status, answer = await self.fake.ask(self.host, "PUT", f"{_V1}/send/{name}", body)
        assert status == 200, answer
        results: dict[str, Any] = answer["pdus"]
        return results

    def serve(self, kind: str, answer: Any, *, method: str = "GET", event_id: str | None = None) -> None:
        """Answer `/kind/{room}` (or `/kind/{event}`) from now on."""

        async def handle(request: web.Request) -> web.Response:
            self.served.append(kind)
            return web.json_response(answer)

        self.fake.routes[(method, f"{_V1}/{kind}/{self.room_id if event_id is None else event_id}")] = handle

    def serve_events(self, *events: Event) -> None:
        """Answer `/event` for some events."""
        for event in events:
            self.serve("event", {"pdus": [event.pdu]}, event_id=event.event_id)

    def serve_state(self, state: Mapping[StateKey, Event]) -> None:
        """Answer `/state_ids` and `/state` with this state, whatever the event."""
        chain = [event for event in self.known.values() if event.is_state]
        self.serve(
            "state_ids",
            {
                "pdu_ids": [event.event_id for event in state.values()],
                "auth_chain_ids": [one.event_id for one in chain],
            },
        )
        self.serve("state", {"pdus": [event.pdu for event in state.values()], "auth_chain": [e.pdu for e in chain]})


async def visit(network: Network, host: FederatedServer, room_id: str, name: str = "eve.test") -> Visitor:
    """A visitor who has joined."""
    fake = next((one for one in network.fakes if one.name == name), None) or await network.add_fake(name)
    visitor = Visitor(fake, host, room_id)
    await visitor.join()
    return visitor
