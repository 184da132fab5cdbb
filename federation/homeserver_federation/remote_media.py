"""Implements the core's `RemoteMedia`: fetches files of other servers, from old ones the old way.

Spec: server-server-api #content-repository
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from email.message import Message
from typing import TYPE_CHECKING
from urllib.parse import quote

from homeserver.protocol.errors import MatrixError, not_found
from homeserver.runtime.http_client import RemoteFailure, ResponseTooLarge
from homeserver.services.media.ports import RemoteFile
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError, RemoteServerError
from homeserver_federation.multipart import MultipartReader, boundary_of

if TYPE_CHECKING:
    from homeserver.runtime.http_client import HttpClient, StreamedResponse
    from homeserver_federation.client import FederationClient

_TRANSFER_MS = 180_000
_FRAME_BYTES = 65_536  # for what is around the file
_MOST_REDIRECTS = 3


class FederatedMedia:
    """`http` fetches what a server has put elsewhere, such as at a content delivery network."""

    def __init__(self, client: FederationClient, http: HttpClient) -> None:
        self._client = client
        self._http = http

    @asynccontextmanager
    async def fetch(
        self, server_name: str, media_id: str, *, max_bytes: int, timeout_ms: int
    ) -> AsyncIterator[RemoteFile]:
        """The file, open for reading while the context lasts. Raises MatrixError."""
        async with AsyncExitStack() as stack:
            with _as_matrix_errors(server_name):
                file = await self._open(stack, server_name, media_id, max_bytes, timeout_ms)
            yield RemoteFile(file.content_type, file.filename, _checked(server_name, file.chunks))

    async def _open(
        self, stack: AsyncExitStack, server_name: str, media_id: str, max_bytes: int, timeout_ms: int
    ) -> RemoteFile:
        try:
            response = await stack.enter_async_context(
                self._client.stream_get(
                    server_name,
                    federation_path("v1", "media", "download", media_id),
                    {"timeout_ms": str(timeout_ms)},
                    timeout_ms=timeout_ms + _TRANSFER_MS,
                    max_bytes=max_bytes + _FRAME_BYTES,
                )
            )
        except RemoteServerError as error:
            if not error.is_unknown_endpoint:
                raise
            return await self._open_unauthenticated(stack, server_name, media_id, max_bytes, timeout_ms)
        boundary = boundary_of(response.headers.get("content-type", ""))
        if boundary is None:
            raise RemoteFailure("the answer is not in two parts")
        reader = MultipartReader(response.chunks(), boundary)
        await reader.next_part()  # metadata, of which there is none yet
        headers = await reader.next_part()
        location = headers.get("location")
        if location is not None:
            return await self._open_elsewhere(stack, location, max_bytes)
        return _file_of(headers, _bounded(reader.body(), max_bytes))

    async def _open_unauthenticated(
        self, stack: AsyncExitStack, server_name: str, media_id: str, max_bytes: int, timeout_ms: int
    ) -> RemoteFile:
        """As before servers authenticated each other's downloads; the server must not ask further ones."""
        response = await stack.enter_async_context(
            self._client.stream_get(
                server_name,
                f"/_matrix/media/v3/download/{quote(server_name, safe='')}/{quote(media_id, safe='')}",
                {"allow_remote": "false", "timeout_ms": str(timeout_ms)},
                timeout_ms=timeout_ms + _TRANSFER_MS,
                max_bytes=max_bytes,
            )
        )
        return _file_of_response(response)

    async def _open_elsewhere(self, stack: AsyncExitStack, location: str, max_bytes: int) -> RemoteFile:
        response = await stack.enter_async_context(
            self._http.stream(
                "GET", location, timeout_s=_TRANSFER_MS / 1000, max_bytes=max_bytes, redirects=_MOST_REDIRECTS
            )
        )
        if response.status != 200:
            raise RemoteFailure(f"the place it points at answered {response.status}")
        return _file_of_response(response)


class _as_matrix_errors:  # noqa: N801 (reads as a phrase)
    """Turns failures of the other server into what the core expects of this port."""

    def __init__(self, server_name: str) -> None:
        self._server_name = server_name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RemoteServerError):
            raise _of_remote_error(error) from error
        if isinstance(error, ResponseTooLarge):
            raise MatrixError("M_TOO_LARGE", "The file is larger than this server fetches.", 502) from error
        if isinstance(error, FederationError):
            raise error.as_matrix_error() from error
        if isinstance(error, RemoteFailure):
            raise MatrixError("M_UNKNOWN", f"{self._server_name} did not send the file: {error}.", 502) from error


def _of_remote_error(error: RemoteServerError) -> MatrixError:
    if error.errcode == "M_NOT_YET_UPLOADED":
        return MatrixError("M_NOT_YET_UPLOADED", "The content has not been uploaded yet.", 504)
    if error.errcode == "M_TOO_LARGE":
        return MatrixError("M_TOO_LARGE", "The file is too large for its server.", 502)
    if error.status == 404:
        return not_found("There is no such media.")
    return MatrixError("M_UNKNOWN", f"{error.destination} did not send the file: {error.sentence}", 502)


async def _checked(server_name: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with _as_matrix_errors(server_name):
        async for chunk in chunks:
            yield chunk


async def _bounded(chunks: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise ResponseTooLarge(f"the file has more than {max_bytes} bytes")
        yield chunk


def _file_of_response(response: StreamedResponse) -> RemoteFile:
    return _file_of(dict(response.headers), response.chunks())


def _file_of(headers: dict[str, str], chunks: AsyncIterator[bytes]) -> RemoteFile:
    parsed = Message()
    parsed["Content-Disposition"] = headers.get("content-disposition", "")
    return RemoteFile(headers.get("content-type", "application/octet-stream"), parsed.get_filename(), chunks)
