"""`/media`: the media of our users, for other servers.

Spec: server-server-api #content-repository
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from homeserver.protocol.errors import unknown
from homeserver.services.media.content_types import may_be_inline
from homeserver.services.media.library import LONGEST_WAIT_MS, Wanted
from homeserver.services.media.thumbnail_sizes import ThumbnailRequest
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.multipart import closing_of, opening_of
from homeserver_federation.paths import v1

if TYPE_CHECKING:
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.media.library import Library
    from homeserver.services.media.thumbnails import Thumbnails

_DEFAULT_WAIT_MS = 20_000
_LARGEST_EDGE = 65_535


class ContentRepositoryApi:
    """Gives out what is kept here for this server's own users, and nothing it would have to fetch."""

    def __init__(self, server_name: str, library: Library, thumbnails: Thumbnails, randomness: Randomness) -> None:
        self._server_name = server_name
        self._library = library
        self._thumbnails = thumbnails
        self._randomness = randomness

    @endpoint("GET", v1("/media/download/{mediaId}"), auth=Auth.SERVER, operation="getContent", limit="federation")
    async def get_content(self, request: Request, origin: str) -> Response:
        media = await self._library.find(self._wanted(request))
        if media.size is None:
            raise unknown("The content of this media is not here.", 502)
        chunks = await self._library.open(media)
        return self._answer(chunks, media.size, media.content_type, media.filename)

    @endpoint(
        "GET", v1("/media/thumbnail/{mediaId}"), auth=Auth.SERVER, operation="getContentThumbnail", limit="federation"
    )
    async def get_content_thumbnail(self, request: Request, origin: str) -> Response:
        method = request.query_choice("method", ("crop", "scale"), "scale")
        size = ThumbnailRequest(
            _edge(request, "width"),
            _edge(request, "height"),
            "crop" if method == "crop" else "scale",
            request.query_bool("animated"),
        )
        picture = await self._thumbnails.find(self._wanted(request), size)
        chunks = await self._thumbnails.open(picture)
        return self._answer(chunks, picture.size, picture.content_type, None)

    def _wanted(self, request: Request) -> Wanted:
        return Wanted(
            self._server_name,
            request.path["mediaId"],
            allow_remote=False,
            timeout_ms=request.query_int("timeout_ms", _DEFAULT_WAIT_MS, minimum=0, maximum=LONGEST_WAIT_MS),
        )

    def _answer(self, chunks: AsyncIterator[bytes], size: int, content_type: str, filename: str | None) -> Response:
        boundary = self._randomness.token(24)
        disposition = "inline" if may_be_inline(content_type) else "attachment"
        if filename:
            disposition += f"; filename*=utf-8''{quote(filename.encode('utf-8', 'replace'), safe='')}"
        opening = opening_of(boundary, {"Content-Type": content_type, "Content-Disposition": disposition})
        closing = closing_of(boundary)

        async def body() -> AsyncIterator[bytes]:
            yield opening
            async for chunk in chunks:
                yield chunk
            yield closing

        headers = {
            # Without quotes: Synapse takes them for a part of the boundary.
            "content-type": f"multipart/mixed; boundary={boundary}",
            "content-length": str(len(opening) + size + len(closing)),
        }
        return StreamingResponse(body(), headers=headers)


def _edge(request: Request, name: str) -> int:
    request.query_str(name)  # it may not be missing
    return request.query_int(name, 0, minimum=1, maximum=_LARGEST_EDGE)
