"""What an endpoint may return, and how it becomes ASGI messages.
A JSON-able value, ready bytes of JSON, or any Starlette response (streaming included).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
from starlette.types import Message, Send

Header = tuple[bytes, bytes]

CORS_HEADERS: tuple[Header, ...] = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"X-Requested-With, Content-Type, Authorization, Date, If-Match, If-None-Match"),
    (b"access-control-expose-headers", b"ETag, Location, Retry-After"),
)
_JSON_TYPE: Header = (b"content-type", b"application/json")


@dataclass(slots=True)
class JsonBytes:
    """An answer whose body is already JSON."""

    body: bytes
    status: int = 200
    headers: tuple[Header, ...] = ()


def json_answer(value: Any, status: int = 200, headers: Iterable[Header] = ()) -> JsonBytes:
    """An answer from a JSON-able value; `orjson.Fragment`s inside it are spliced in as they are."""
    return JsonBytes(render_json(value), status, tuple(headers))


def render_json(value: Any) -> bytes:
    """Bytes of JSON from what orjson accepts, msgspec Structs and `orjson.Fragment`s; TypeError for the rest."""
    return orjson.dumps(value, default=_builtins)


def _builtins(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    raise TypeError(f"{type(value).__name__} cannot be rendered as JSON")


async def send_json(send: Send, answer: JsonBytes, *, head_only: bool = False) -> None:
    """Send one JSON answer with the CORS headers; `head_only` leaves the body out but keeps its length (HEAD)."""
    body = answer.body
    headers = [_JSON_TYPE, (b"content-length", b"%d" % len(body)), *CORS_HEADERS, *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head_only else body})


def with_cors(send: Send, *, head_only: bool = False) -> Send:
    """A `send` that adds the CORS headers a response does not set itself, and drops the body for HEAD."""

    async def send_with_cors(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            present = {name.lower() for name, _ in headers}
            headers.extend(header for header in CORS_HEADERS if header[0] not in present)
            message = {**message, "headers": headers}
        elif head_only and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_with_cors
