"""The application through ASGI: authentication, rate limits, bodies, errors, CORS, streaming, draining.
One small endpoint class stands for the whole server.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import msgspec
import orjson
import pytest
from starlette.responses import Response, StreamingResponse
from structlog.testing import capture_logs

from homeserver.protocol import errors
from homeserver.testing import AsgiClient
from homeserver.web.app import WebApp, WebSettings, build_asgi
from homeserver.web.endpoint import Auth, Route, endpoint, routes_of
from homeserver.web.request import Request
from homeserver.web.requester import Requester
from homeserver.web.responses import JsonBytes, json_answer


class Point(msgspec.Struct):
    x: int
    tags: list[str] = []


class Endpoints:
    def __init__(self) -> None:
        self.gate = asyncio.Event()

    @endpoint("GET", "/whoami")
    async def whoami(self, request: Request, requester: Requester) -> Any:
        return {"user_id": requester.user_id}

    @endpoint("GET", "/guest", auth=Auth.GUEST_OK)
    async def guest(self, request: Request, requester: Requester) -> Any:
        return {"guest": requester.is_guest}

    @endpoint("GET", "/maybe", auth=Auth.OPTIONAL)
    async def maybe(self, request: Request, requester: Requester | None) -> Any:
        return {"user_id": requester and requester.user_id}

    @endpoint("GET", "/admin", auth=Auth.ADMIN)
    async def admin(self, request: Request, requester: Requester) -> Any:
        return {}

    @endpoint("GET", "/bridge", auth=Auth.APPSERVICE)
    async def bridge(self, request: Request, requester: Requester) -> Any:
        return {"id": requester.appservice_id}

    @endpoint("PUT", "/federation/{txnId}", auth=Auth.SERVER, limit="federation", body=dict)
    async def federation(self, request: Request, origin: str, body: dict[str, Any]) -> Any:
        return {"origin": origin, "body": body, "target": request.target}

    @endpoint("POST", "/point", limit="message", body=Point)
    async def point(self, request: Request, requester: Requester, body: Point) -> Any:
        return body

    @endpoint("POST", "/object", auth=Auth.NONE, body=dict)
    async def any_object(self, request: Request, body: dict[str, Any]) -> Any:
        return body

    @endpoint("POST", "/optional", auth=Auth.NONE, body=dict, optional_body=True)
    async def optional(self, request: Request, body: dict[str, Any]) -> Any:
        return body

    @endpoint("POST", "/any", auth=Auth.NONE, body=object)
    async def any_value(self, request: Request, body: Any) -> Any:
        return {"value": body}

    @endpoint("POST", "/raw", auth=Auth.NONE, body=bytes, max_body_bytes=20)
    async def raw(self, request: Request, body: bytes) -> Any:
        return {"length": len(body)}

    @endpoint("GET", "/fragment", auth=Auth.NONE)
    async def fragment(self, request: Request) -> Any:
        return {"event": orjson.Fragment(b'{"already":"json"}')}

    @endpoint("GET", "/ready", auth=Auth.NONE)
    async def ready(self, request: Request) -> JsonBytes:
        return json_answer({"flows": []}, 401, [(b"x-extra", b"1")])

    @endpoint("GET", "/stream", auth=Auth.NONE)
    async def stream(self, request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"one "
            yield b"two"

        return StreamingResponse(chunks(), headers={"access-control-allow-origin": "https://only.example"})

    @endpoint("GET", "/broken-stream", auth=Auth.NONE)
    async def broken_stream(self, request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"half"
            raise KeyError("secret")

        return StreamingResponse(chunks())

    @endpoint("GET", "/broken", auth=Auth.NONE, operation="breakThings")
    async def broken(self, request: Request) -> Any:
        raise KeyError("a secret in the message")

    @endpoint("GET", "/limited", auth=Auth.NONE)
    async def limited(self, request: Request) -> Any:
        raise errors.limit_exceeded(1001)

    @endpoint("GET", "/interactive", auth=Auth.NONE)
    async def interactive(self, request: Request) -> Any:
        raise errors.MatrixError("", "", 401, extra={"flows": [], "session": "s"})

    @endpoint("GET", "/query", auth=Auth.NONE)
    async def query(self, request: Request) -> Any:
        return {
            "limit": request.query_int("limit", 10, minimum=1, maximum=100),
            "full": request.query_bool("full"),
            "dir": request.query_choice("dir", ("b", "f"), "b"),
            "via": request.query_list("via"),
            "first": request.query.get("via"),
            "address": request.client_address,
        }

    @endpoint("GET", "/required", auth=Auth.NONE)
    async def required(self, request: Request) -> Any:
        return {"q": request.query_str("q")}

    @endpoint("GET", "/wait", auth=Auth.NONE)
    async def wait(self, request: Request) -> Any:
        await self.gate.wait()
        return {}


class Tokens:
    def __init__(self) -> None:
        self.known = {
            "alice": Requester("@alice:test", "D"),
            "guest": Requester("@1:test", is_guest=True),
            "admin": Requester("@root:test", is_admin=True),
            "bridge": Requester("@bot:test", appservice_id="irc", is_rate_limited=False),
        }

    async def authenticate(self, token: str, request: Request) -> Requester:
        if token not in self.known:
            raise errors.unknown_token("This token is not known.", soft_logout=True)
        return self.known[token]


class Servers:
    async def authenticate(self, request: Request, body: bytes) -> str:
        if request.header("X-Origin") is None:
            raise errors.MatrixError("M_UNAUTHORIZED", "No signature.", 401)
        return f"{request.header('x-origin')} signed {len(body)} bytes"


class Limits:
    def __init__(self) -> None:
        self.counted: list[tuple[str, str | None, str]] = []
        self.full = False

    async def check(self, bucket: str, requester: Requester | None, address: str) -> None:
        self.counted.append((bucket, requester.user_id if requester else None, address))
        if self.full:
            raise errors.limit_exceeded(500)


class Server:
    """The application under test with its parts at hand."""

    def __init__(self, settings: WebSettings | None = None) -> None:
        self.endpoints = Endpoints()
        self.limits = Limits()
        self.answers: list[tuple[str | None, str, int]] = []
        self.app: WebApp = build_asgi(
            routes_of(self.endpoints),
            Tokens(),
            self.limits,
            settings=settings or WebSettings(max_body_bytes=100),
            server_authenticator=Servers(),
            observe_answer=self.observe,
        )
        self.client = AsgiClient(self.app)

    def observe(self, route: Route | None, method: str, status: int, seconds: float) -> None:
        self.answers.append((route.path if route else None, method, status))


@pytest.fixture
def server() -> Server:
    return Server()


def error_of(answer: Any) -> tuple[int, str]:
    assert set(answer.json) >= {"errcode", "error"}
    return answer.status, answer.json["errcode"]


# Authentication


async def test_the_token_in_the_header_or_the_query(server: Server) -> None:
    assert (await server.client.get("/whoami", token="alice")).json == {"user_id": "@alice:test"}
    assert (await server.client.get("/whoami?access_token=alice")).json == {"user_id": "@alice:test"}
    assert (await server.client.get("/whoami", headers={"Authorization": "bearer alice"})).status == 200


@pytest.mark.parametrize("authorization", ["Basic alice", "Bearer", "Bearer ", "alice"])
async def test_a_header_without_a_bearer_token_is_a_missing_token(server: Server, authorization: str) -> None:
    answer = await server.client.get("/whoami", headers={"Authorization": authorization})
    assert error_of(answer) == (401, "M_MISSING_TOKEN")


async def test_missing_and_unknown_tokens(server: Server) -> None:
    assert error_of(await server.client.get("/whoami")) == (401, "M_MISSING_TOKEN")
    unknown = await server.client.get("/whoami", token="nobody")
    assert error_of(unknown) == (401, "M_UNKNOWN_TOKEN")
    assert unknown.json["soft_logout"] is True


async def test_who_may_call_what(server: Server) -> None:
    assert error_of(await server.client.get("/whoami", token="guest")) == (403, "M_GUEST_ACCESS_FORBIDDEN")
    assert (await server.client.get("/guest", token="guest")).json == {"guest": True}
    assert (await server.client.get("/maybe")).json == {"user_id": None}
    assert (await server.client.get("/maybe", token="alice")).json == {"user_id": "@alice:test"}
    assert error_of(await server.client.get("/maybe", token="nobody")) == (401, "M_UNKNOWN_TOKEN")
    assert error_of(await server.client.get("/admin", token="alice")) == (403, "M_FORBIDDEN")
    assert (await server.client.get("/admin", token="admin")).status == 200
    assert error_of(await server.client.get("/bridge", token="alice")) == (403, "M_FORBIDDEN")
    assert (await server.client.get("/bridge", token="bridge")).json == {"id": "irc"}


async def test_servers_are_authenticated_by_the_body_they_signed(server: Server) -> None:
    answer = await server.client.put("/federation/a%2Fb?x=1", {"pdus": []}, headers={"X-Origin": "remote.test"})
    assert answer.json == {
        "origin": "remote.test signed 11 bytes",
        "body": {"pdus": []},
        "target": "/federation/a%2Fb?x=1",
    }
    assert server.limits.counted == [("federation", None, "remote.test signed 11 bytes")]
    assert error_of(await server.client.put("/federation/1", {})) == (401, "M_UNAUTHORIZED")


async def test_without_federation_its_endpoints_do_not_exist(server: Server) -> None:
    app = build_asgi(routes_of(Endpoints()), Tokens(), Limits())
    assert error_of(await AsgiClient(app).put("/federation/1", {})) == (404, "M_UNRECOGNIZED")


# Rate limits


async def test_authentication_comes_before_the_limit_and_the_limit_before_the_body(server: Server) -> None:
    server.limits.full = True
    assert error_of(await server.client.post("/point", body=b"{")) == (401, "M_MISSING_TOKEN")
    assert server.limits.counted == []
    assert error_of(await server.client.post("/point", body=b"{", token="alice")) == (429, "M_LIMIT_EXCEEDED")
    assert server.limits.counted == [("message", "@alice:test", "127.0.0.1")]


async def test_requesters_without_limits_are_not_counted(server: Server) -> None:
    server.limits.full = True
    assert (await server.client.post("/point", {"x": 1}, token="bridge")).status == 200


async def test_a_limit_tells_when_to_come_back(server: Server) -> None:
    answer = await server.client.get("/limited")
    assert error_of(answer) == (429, "M_LIMIT_EXCEEDED")
    assert answer.json["retry_after_ms"] == 1001
    assert answer.headers["retry-after"] == "2"


# Bodies


@pytest.mark.parametrize("body", [b"", b"{", b"hello", b'{"x": NaN}', b'{"x": "\xff"}', b"[" * 2000])
async def test_what_is_not_json(server: Server, body: bytes) -> None:
    answer = await Server(WebSettings(max_body_bytes=5000)).client.post("/object", body=body)
    assert error_of(answer) == (400, "M_NOT_JSON")


async def test_what_is_json_but_wrong(server: Server) -> None:
    assert error_of(await server.client.post("/object", [])) == (400, "M_BAD_JSON")
    wrong = await server.client.post("/point", {"x": 1, "tags": ["a", 2]}, token="alice")
    assert error_of(wrong) == (400, "M_BAD_JSON")
    assert "$.tags[1]" in wrong.json["error"]
    missing = await server.client.post("/point", {"y": 1}, token="alice")
    assert error_of(missing) == (400, "M_BAD_JSON")
    assert "`x`" in missing.json["error"]


async def test_bodies_as_declared(server: Server) -> None:
    assert (await server.client.post("/point", {"x": 1, "more": 2}, token="alice")).json == {"x": 1, "tags": []}
    assert (await server.client.post("/object", {"a": {"b": []}})).json == {"a": {"b": []}}
    assert (await server.client.post("/optional")).json == {}
    assert (await server.client.post("/any", [1])).json == {"value": [1]}
    assert (await server.client.post("/raw", body=[b"12345", b"", b"678"])).json == {"length": 8}


async def test_bodies_that_are_too_large(server: Server) -> None:
    assert error_of(await server.client.post("/object", {"x": "y" * 100})) == (413, "M_TOO_LARGE")
    assert error_of(await server.client.post("/raw", body=b"x" * 21)) == (413, "M_TOO_LARGE")
    unannounced = await server.client.post("/raw", body=[b"x" * 15, b"x" * 15], headers={"content-length": "3"})
    assert error_of(unannounced) == (413, "M_TOO_LARGE")


# Query and addresses


async def test_query_helpers(server: Server) -> None:
    answer = await server.client.get("/query?limit=1000&full=true&dir=f&via=a&via=b%20c&via=")
    assert answer.json == {
        "limit": 100,
        "full": True,
        "dir": "f",
        "via": ["a", "b c", ""],
        "first": "a",
        "address": "127.0.0.1",
    }
    assert (await server.client.get("/query")).json["limit"] == 10


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", "x"), ("limit", "0"), ("limit", "²"), ("limit", "--1"), ("limit", ""), ("full", "1"), ("dir", "up")],
)
async def test_wrong_query_parameters(server: Server, name: str, value: str) -> None:
    answer = await server.client.get("/query", query={name: value})
    assert error_of(answer) == (400, "M_INVALID_PARAM")
    assert f"`{name}`" in answer.json["error"]


async def test_a_missing_query_parameter(server: Server) -> None:
    assert error_of(await server.client.get("/required")) == (400, "M_MISSING_PARAM")


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.1", "6.6.6.6, 9.9.9.9, 10.0.0.2", "9.9.9.9"),
        ("::ffff:10.0.0.1", "9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.7", "10.0.0.7"),
        ("8.8.8.8", "9.9.9.9", "8.8.8.8"),
    ],
)
async def test_forwarded_addresses_count_only_from_trusted_proxies(peer: str, forwarded: str, expected: str) -> None:
    server = Server(WebSettings(trusted_proxies=(ip_network("10.0.0.0/8"),)))
    client = AsgiClient(server.app, address=peer)
    answer = await client.get("/query", headers={"X-Forwarded-For": forwarded})
    assert answer.json["address"] == expected


async def test_without_trusted_proxies_forwarded_addresses_are_ignored(server: Server) -> None:
    answer = await server.client.get("/query", headers={"X-Forwarded-For": "9.9.9.9"})
    assert answer.json["address"] == "127.0.0.1"


# Answers


async def test_values_fragments_and_ready_bytes(server: Server) -> None:
    answer = await server.client.get("/fragment")
    assert answer.body == b'{"event":{"already":"json"}}'
    assert answer.headers["content-type"] == "application/json"
    ready = await server.client.get("/ready")
    assert (ready.status, ready.json, ready.headers["x-extra"]) == (401, {"flows": []}, "1")


async def test_streams_with_their_own_headers(server: Server) -> None:
    answer = await server.client.get("/stream")
    assert answer.body == b"one two"
    assert answer.headers["access-control-allow-origin"] == "https://only.example"
    assert "access-control-allow-methods" in answer.headers


async def test_head_is_get_without_the_body(server: Server) -> None:
    head = await server.client.request("HEAD", "/fragment")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "28")
    assert (await server.client.request("HEAD", "/stream")).body == b""


@pytest.mark.parametrize("path", ["/fragment", "/stream", "/whoami", "/broken", "/nowhere", "/limited", "/health"])
async def test_every_answer_carries_the_cors_headers(server: Server, path: str) -> None:
    answer = await server.client.get(path)
    assert answer.headers["access-control-allow-origin"]
    assert "PUT" in answer.headers["access-control-allow-methods"]
    for name in ("X-Requested-With", "Content-Type", "Authorization", "Date"):
        assert name in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("path", ["/fragment", "/nowhere", "/%ff"])
async def test_options_is_answered_everywhere(server: Server, path: str) -> None:
    answer = await server.client.request("OPTIONS", path)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_unknown_paths_and_methods(server: Server) -> None:
    assert error_of(await server.client.get("/nowhere")) == (404, "M_UNRECOGNIZED")
    wrong = await server.client.delete("/point")
    assert error_of(wrong) == (405, "M_UNRECOGNIZED")
    assert wrong.headers["allow"] == "POST, OPTIONS"
    assert error_of(await server.client.get("/%ff")) == (400, "M_INVALID_PARAM")


async def test_an_unexpected_error_tells_nothing(server: Server) -> None:
    with capture_logs() as lines:
        answer = await server.client.get("/broken?access_token=hidden")
    assert error_of(answer) == (500, "M_UNKNOWN")
    assert b"secret" not in answer.body
    assert [(line["operation"], type(line["exc_info"])) for line in lines] == [("breakThings", KeyError)]
    assert "hidden" not in str(lines)


async def test_an_error_after_the_headers_cuts_the_answer(server: Server) -> None:
    with pytest.raises(KeyError):
        await server.client.get("/broken-stream")


async def test_interactive_authentication_has_no_errcode(server: Server) -> None:
    answer = await server.client.get("/interactive")
    assert (answer.status, answer.json) == (401, {"flows": [], "session": "s"})


async def test_answers_are_observed(server: Server) -> None:
    await server.client.get("/fragment")
    await server.client.get("/nowhere")
    await server.client.get("/broken")
    assert server.answers == [("/fragment", "GET", 200), (None, "GET", 404), ("/broken", "GET", 500)]


async def test_health(server: Server) -> None:
    answer = await server.client.get("/health")
    assert (answer.status, answer.body) == (200, b"OK")


# Life


async def test_draining_waits_for_requests_in_flight_and_refuses_new_ones(server: Server) -> None:
    waiting = asyncio.ensure_future(server.client.get("/wait"))
    await asyncio.sleep(0)
    assert server.app.in_flight == 1
    assert await server.app.drain(0.01) == 1
    assert error_of(await server.client.get("/fragment")) == (503, "M_UNKNOWN")
    drained = asyncio.ensure_future(server.app.drain(5))
    await asyncio.sleep(0)
    server.endpoints.gate.set()
    assert await drained == 0
    assert (await waiting).status == 200


async def test_the_lifespan_runs_around_the_calls() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        steps.append("start")
        yield
        steps.append("stop")

    app = build_asgi([], Tokens(), Limits(), lifespan=lifespan)
    async with AsgiClient(app) as client:
        assert (await client.get("/health")).status == 200
        assert steps == ["start"]
    assert steps == ["start", "stop"]
