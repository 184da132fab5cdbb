"""Reads what is left of a small request body before the answer goes out.

An endpoint may answer without reading its body. HTTP/1.1 servers then close the connection, which the client's next
request, already on its way, would pay for.
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Message, Receive

_MOST_BYTES = 64 * 1024
_PATIENCE_S = 2.0
WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class BodyReader:
    """An ASGI `receive` that knows whether the whole body has come."""

    __slots__ = ("_receive", "is_read")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_read = False

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.is_read = True
        return message

    async def read_rest(self) -> None:
        """Throw away up to 64 KiB that nobody has read; more, or what takes too long, stays where it is."""
        left = _MOST_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while not self.is_read and left > 0:
                    left -= len((await self()).get("body", b""))
