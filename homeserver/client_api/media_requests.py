"""What requests for media have in common, with and without a login: parameters in, files and thumbnails out.

Spec: client-server-api #content-repository
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.responses import Response

from homeserver.client_api.media_answers import content_disposition, media_answer, redirect_answer
from homeserver.protocol.errors import unknown
from homeserver.services.media.library import LONGEST_WAIT_MS, Library, Wanted
from homeserver.services.media.thumbnail_sizes import ThumbnailRequest
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.web.request import Request

_DEFAULT_WAIT_MS = 20_000
_LARGEST_EDGE = 65_535
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/apng": "png", "image/gif": "gif", "image/webp": "webp"}


def wanted_of(request: Request, *, public_only: bool) -> Wanted:
    """Which media, and how long to wait for them. M_INVALID_PARAM."""
    return Wanted(
        request.path["serverName"],
        request.path["mediaId"],
        allow_remote=request.query_bool("allow_remote", True),
        timeout_ms=request.query_int("timeout_ms", _DEFAULT_WAIT_MS, minimum=0, maximum=LONGEST_WAIT_MS),
        public_only=public_only,
    )


def thumbnail_of(request: Request) -> ThumbnailRequest:
    """Which thumbnail. M_MISSING_PARAM, M_INVALID_PARAM."""
    method = request.query_choice("method", ("crop", "scale"), "scale")
    return ThumbnailRequest(
        _edge(request, "width"),
        _edge(request, "height"),
        "crop" if method == "crop" else "scale",
        request.query_bool("animated"),
    )


async def download(library: Library, request: Request, *, public_only: bool = False) -> Response:
    """The file; a name in the path takes the place of the uploaded one."""
    media = await library.find(wanted_of(request, public_only=public_only))
    if media.size is None or media.sha256 is None:
        raise unknown("The content of this media is not here.", 502)
    filename = request.path.get("fileName") or media.filename
    if _may_redirect(request):
        disposition = content_disposition(media.content_type, filename)
        link = await library.find_link(media.store_id or "", media.content_type, disposition)
        if link is not None:
            return redirect_answer(link)

    async def open_range(start: int, end: int) -> AsyncIterator[bytes]:
        return await library.open(media, start, end)

    return await media_answer(
        request,
        open_range,
        size=media.size,
        content_type=media.content_type,
        filename=filename,
        etag=media.sha256.hex()[:32],
        public=public_only,
    )


async def thumbnail(thumbnails: Thumbnails, request: Request, *, public_only: bool = False) -> Response:
    """The thumbnail; always whole, since it is small."""
    picture = await thumbnails.find(wanted_of(request, public_only=public_only), thumbnail_of(request))
    filename = f"thumbnail.{_ENDINGS.get(picture.content_type, 'bin')}"
    if _may_redirect(request):
        link = await thumbnails.find_link(picture, content_disposition(picture.content_type, filename))
        if link is not None:
            return redirect_answer(link)

    async def open_range(start: int, end: int) -> AsyncIterator[bytes]:
        return await thumbnails.open(picture, start, end)

    return await media_answer(
        request,
        open_range,
        size=picture.size,
        content_type=picture.content_type,
        filename=filename,
        etag=picture.etag,
        public=public_only,
    )


def _may_redirect(request: Request) -> bool:
    """Signed URLs are for one method: others are answered here."""
    return request.method == "GET" and request.query_bool("allow_redirect")


def _edge(request: Request, name: str) -> int:
    request.query_str(name)  # it may not be missing
    return request.query_int(name, 0, minimum=1, maximum=_LARGEST_EDGE)
