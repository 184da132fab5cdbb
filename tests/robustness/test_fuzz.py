"""Ten thousand malformed requests, and not one answer that says the server is at fault."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from server_kit import User, running_server

_REQUESTS = 10_000
_SEED = 20_261_120
_TEXTS = [
    "",
    "x",
    "@alice:example.org",
    "!r:example.org",
    "$e",
    "#a:example.org",
    "%00",
    "\ud7ff",
    "a" * 300,
    "*",
    "../..",
    "é",
]
_NUMBERS = [0, 1, -1, 2**31, 2**53, 2**63, 2**70, 1.5, 1e308]


async def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    chance = random.Random(_SEED)
    async with running_server(tmp_path) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room(preset="public_chat")
        event_id = await alice.say(room_id, "hello")
        known = [*_TEXTS, alice.user_id, room_id, event_id, alice.device_id, "m.room.message", "m.room.member"]
        routes = [
            route
            for route in server.homeserver.asgi(server.homeserver.settings.listeners[0]).endpoint_routes
            if route.spec.operation not in {"logout", "logoutAll", "deactivateAccount", "sync", "deleteDevice"}
        ]
        failures = []
        for _ in range(_REQUESTS):
            route = chance.choice(routes)
            path = "/".join(
                quote(chance.choice(known), safe="") if part.startswith("{") else part for part in route.path.split("/")
            )
            method = (
                route.method if chance.random() < 0.95 else chance.choice(["GET", "PUT", "POST", "DELETE", "PATCH"])
            )
            answer = await _client(alice, chance).client.request(
                method, path, body=_body(chance, known), query=_query(chance, known)
            )
            if answer.status >= 500 and answer.status != 502:
                failures.append((method, path, answer.status, answer.body[:200]))
        assert failures == []


def _client(alice: User, chance: random.Random) -> User:
    kind = chance.random()
    if kind < 0.8:
        return alice
    token = None if kind < 0.9 else chance.choice(["", "wrong", "a" * 5_000, "ünï"])
    return User(alice.user_id, alice.client.with_token(token), alice.device_id)


def _body(chance: random.Random, known: list[str]) -> bytes:
    kind = chance.random()
    if kind < 0.1:
        return b""
    if kind < 0.2:
        return chance.choice([b"{", b"[]", b"null", b"\xff\xfe", b'"text"', b"{" * 2_000, b'{"a":' * 300, b"1e999"])
    return orjson.dumps(_value(chance, known, 0))


_KEYS = [
    "user_id", "membership", "type", "content", "auth", "session", "identifier", "filter", "limit", "since", "events",
    "m.relates_to", "rel_type", "event_id", "key", "users", "name", "preset", "invite", "initial_state", "device_keys",
    "one_time_keys", "messages", "rooms", "actions", "conditions", "room_id", "typing", "timeout", "m.read", "redacts",
    "new_version", "search_term", "presence", "alias", "alt_aliases", "power_level_content_override", "state_key",
]  # fmt: skip


def _value(chance: random.Random, known: list[str], depth: int) -> Any:
    kind = chance.random()
    if depth < 4 and (depth == 0 or kind < 0.3):
        return {chance.choice([*_KEYS, *known]): _value(chance, known, depth + 1) for _ in range(chance.randrange(6))}
    if depth < 4 and kind < 0.45:
        return [_value(chance, known, depth + 1) for _ in range(chance.randrange(4))]
    if kind < 0.7:
        return chance.choice(known)
    return chance.choice([None, True, False, *[number for number in _NUMBERS if not _is_too_big(number)]])


def _is_too_big(number: float) -> bool:
    return isinstance(number, int) and number >= 2**64


def _query(chance: random.Random, known: list[str]) -> dict[str, str]:
    names = ["from", "to", "limit", "dir", "filter", "since", "timeout", "at", "membership", "via", "ts", "version"]
    values = [*known, "s1_2_3", "t1_1", "b", "f", "{}", "[]", '{"types":1}', "-1", "99999999999999999999"]
    return {chance.choice(names): chance.choice(values) for _ in range(chance.randrange(3))}
