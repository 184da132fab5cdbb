"""The two-part bodies in which servers send each other media: written, and read piece by piece.

Spec: server-server-api #content-repository
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

from homeserver.runtime.http_client import RemoteFailure

_BOUNDARY = re.compile(r"boundary\s*=\s*(?:\"([^\"]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE)
_MOST_HEADER_BYTES = 16_384
_MOST_METADATA_BYTES = 1024 * 1024


def boundary_of(content_type: str) -> str | None:
    """The boundary that a Content-Type of `multipart/mixed` names; None for other types or without one."""
    if content_type.partition(";")[0].strip().lower() != "multipart/mixed":
        return None
    match = _BOUNDARY.search(content_type)
    return None if match is None else match[1] or match[2]


def opening_of(boundary: str, headers: Mapping[str, str]) -> bytes:
    """All that goes before the bytes of the file: the empty metadata, and the file's headers."""
    lines = [
        f"--{boundary}",
        "Content-Type: application/json",
        "",
        "{}",
        f"--{boundary}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1")


def closing_of(boundary: str) -> bytes:
    """What goes behind the bytes of the file."""
    return f"\r\n--{boundary}--\r\n".encode("latin-1")


class MultipartReader:
    """Reads the parts of a body one after another. All methods raise RemoteFailure for a malformed body."""

    def __init__(self, chunks: AsyncIterator[bytes], boundary: str) -> None:
        self._chunks = chunks
        self._delimiter = b"\r\n--" + boundary.encode("latin-1")
        self._buffer = b"\r\n"  # so that the first delimiter looks like the others

    async def next_part(self) -> dict[str, str]:
        """Skip to the next part; its headers, names in lower case."""
        await self._skip_past(self._delimiter, _MOST_METADATA_BYTES)
        await self._skip_past(b"\r\n", _MOST_HEADER_BYTES)
        headers: dict[str, str] = {}
        size = 0
        while line := await self._line():
            size += len(line)
            if size > _MOST_HEADER_BYTES:
                raise RemoteFailure("the headers of a part are too long")
            name, _, value = line.decode("latin-1").partition(":")
            headers.setdefault(name.strip().lower(), value.strip())
        return headers

    async def body(self) -> AsyncIterator[bytes]:
        """The bytes of the part whose headers were read last."""
        kept = len(self._delimiter) - 1
        while True:
            at = self._buffer.find(self._delimiter)
            if at >= 0:
                found, self._buffer = self._buffer[:at], self._buffer[at:]
                if found:
                    yield found
                return
            if len(self._buffer) > kept:
                found, self._buffer = self._buffer[:-kept], self._buffer[-kept:]
                yield found
            await self._more()

    async def _skip_past(self, end: bytes, most: int) -> None:
        skipped = 0
        while (at := self._buffer.find(end)) < 0:
            skipped += max(0, len(self._buffer) - len(end))
            if skipped > most:
                raise RemoteFailure("a part of the body is too long")
            self._buffer = self._buffer[-len(end) :]
            await self._more()
        self._buffer = self._buffer[at + len(end) :]

    async def _line(self) -> bytes:
        while (at := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MOST_HEADER_BYTES:
                raise RemoteFailure("the headers of a part are too long")
            await self._more()
        line, self._buffer = self._buffer[:at], self._buffer[at + 2 :]
        return line

    async def _more(self) -> None:
        async for chunk in self._chunks:
            self._buffer += chunk
            return
        raise RemoteFailure("the body breaks off")
