"""The public test kit: drive the server in process, without sockets and without an HTTP library.
Plugin authors use it as our own tests do.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote, urlencode

import orjson
from starlette.types import ASGIApp, Message

Query = Mapping[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer. Header names are in lower case; repeated headers are joined with a comma."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; raises ValueError if it is none."""
        return orjson.loads(self.body)


class AsgiClient:
    """Calls an ASGI application. As an async context manager it runs the application's lifespan around its calls."""

    def __init__(self, app: ASGIApp, *, token: str | None = None, address: str = "127.0.0.1") -> None:
        self._app = app
        self._token = token
        self._address = address
        self._lifespan: asyncio.Task[None] | None = None
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()

    @property
    def token(self) -> str | None:
        """The access token it sends by default."""
        return self._token

    def with_token(self, token: str | None) -> "AsgiClient":
        """A client of the same application that sends this access token by default."""
        return AsgiClient(self._app, token=token, address=self._address)

    async def __aenter__(self) -> Self:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._lifespan = asyncio.ensure_future(self._run_lifespan(scope))
        await self._lifespan_step("lifespan.startup")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._lifespan_step("lifespan.shutdown")
        if self._lifespan is not None:
            await self._lifespan

    async def _run_lifespan(self, scope: dict[str, Any]) -> None:
        await self._app(scope, self._to_app.get, self._from_app.put)

    async def _lifespan_step(self, name: str) -> None:
        await self._to_app.put({"type": name})
        message = await self._from_app.get()
        if message["type"].endswith(".failed"):
            raise RuntimeError(f"{name} failed:\n{message.get('message', '')}")

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | Iterable[bytes] | None = None,
        query: Query | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. `path` is the raw path, percent-encoded by the caller, and may carry a query; `json` or `body`
        (bytes, or several chunks) is sent; `token` replaces the client's own.
        """
        chunks = _chunks(json, body)
        raw_path, _, raw_query = path.partition("?")
        if query:
            raw_query = "&".join(part for part in (raw_query, urlencode(query, doseq=True)) if part)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": unquote(raw_path),
            "raw_path": raw_path.encode("latin-1"),
            "root_path": "",
            "query_string": raw_query.encode("latin-1"),
            "headers": self._headers(chunks, token or self._token, headers),
            "client": (self._address, 50000),
            "server": ("127.0.0.1", 8008),
            "state": {},
        }
        return await _exchange(self._app, scope, chunks)

    def _headers(
        self, chunks: list[bytes], token: str | None, headers: Mapping[str, str] | None
    ) -> list[tuple[bytes, bytes]]:
        all_headers = {"host": "localhost", "content-length": str(sum(map(len, chunks)))}
        if token is not None:
            all_headers["authorization"] = f"Bearer {token}"
        all_headers |= {name.lower(): value for name, value in (headers or {}).items()}
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in all_headers.items()]

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Answer:
        return await self.request("POST", path, json=json, **options)

    async def put(self, path: str, json: Any = None, **options: Any) -> Answer:
        return await self.request("PUT", path, json=json, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.request("DELETE", path, **options)


def path_of(*segments: str) -> str:
    """A raw path from plain segments, each percent-encoded: `path_of("rooms", "!a/b:c")` is `/rooms/!a%2Fb%3Ac`."""
    return "".join("/" + quote(segment, safe="!$'()*-._~") for segment in segments)


def _chunks(json: Any, body: bytes | Iterable[bytes] | None) -> list[bytes]:
    if json is not None:
        return [orjson.dumps(json)]
    if body is None:
        return []
    return [body] if isinstance(body, bytes) else list(body)


async def _exchange(app: ASGIApp, scope: dict[str, Any], chunks: list[bytes]) -> Answer:
    pending = [*chunks] or [b""]
    finished = asyncio.Event()
    started: Message = {}
    body: list[bytes] = []

    async def receive() -> Message:
        if pending:
            chunk = pending.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(pending)}
        await finished.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            if started:
                raise RuntimeError("the application started a second answer")
            started.update(message)
        elif message["type"] == "http.response.body":
            body.append(message.get("body", b""))
            if not message.get("more_body", False):
                finished.set()

    await app(scope, receive, send)
    if not finished.is_set():
        raise RuntimeError("the application did not finish its answer")
    headers: dict[str, str] = {}
    for raw_name, raw_value in started.get("headers", ()):
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Answer(started["status"], headers, b"".join(body))
