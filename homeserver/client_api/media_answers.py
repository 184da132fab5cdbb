"""How media are answered with: headers that make hostile files harmless, ranges, and what a browser may keep.

Spec: client-server-api #serving-inline-content
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from homeserver.services.media.content_types import may_be_inline
from homeserver.web.request import Request
from homeserver.web.responses import render_json

_SAFETY = {
    "content-security-policy": (
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; "
        "object-src 'self';"
    ),
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow, noarchive, noimageindex",
    "access-control-expose-headers": "ETag, Content-Length, Content-Disposition, Content-Range, Accept-Ranges",
}
_KEPT_S = 86_400
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.ASCII)
_PLAIN_NAME = re.compile(r"[ !#-\[\]-~]*", re.ASCII)  # what a quoted string holds without a backslash

OpenRange = Callable[[int, int], Awaitable[AsyncIterator[bytes]]]
"""Opens the bytes from the first number up to, without, the second."""


def content_disposition(content_type: str, filename: str | None) -> str:
    """`inline` for harmless types and `attachment` for others, with the file's name whatever is in it (RFC 6266)."""
    kind = "inline" if may_be_inline(content_type) else "attachment"
    if not filename:
        return kind
    if _PLAIN_NAME.fullmatch(filename):
        return f'{kind}; filename="{filename}"'
    return f"{kind}; filename*=utf-8''{quote(filename.encode('utf-8', 'replace'), safe='')}"


async def media_answer(
    request: Request,
    open_range: OpenRange,
    *,
    size: int,
    content_type: str,
    filename: str | None,
    etag: str,
    public: bool,
) -> Response:
    """The whole file, the part asked for (206, 416), or that the client has it already (304); only headers for HEAD.

    `etag` is without its quotes. `public`: whether shared caches may keep it.
    """
    headers = {
        **_SAFETY,
        "content-type": content_type,
        "content-disposition": content_disposition(content_type, filename),
        "cache-control": f"{'public' if public else 'private'}, max-age={_KEPT_S}, immutable",
        "etag": f'"{etag}"',
        "accept-ranges": "bytes",
    }
    if _names_etag(request.header("if-none-match"), etag):
        return Response(status_code=304, headers={name: headers[name] for name in ("cache-control", "etag")})
    start, end, status = 0, size, 200
    wanted = _wanted_range(request, etag)
    if wanted is not None:
        start, end = _bounds(wanted, size)
        if start >= end:
            return _not_satisfiable(size)
        status = 206
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    headers["content-length"] = str(end - start)
    if request.method == "HEAD" or start == end:
        return Response(status_code=status, headers=headers)
    return StreamingResponse(await open_range(start, end), status_code=status, headers=headers)


def redirect_answer(link: str) -> Response:
    """Sends the client to where the store itself gives out the bytes; nobody may keep the way, which soon ends."""
    return Response(status_code=307, headers={**_SAFETY, "location": link, "cache-control": "no-store"})


def _names_etag(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    named = [one.strip().removeprefix("W/") for one in header.split(",")]
    return "*" in named or f'"{etag}"' in named


def _wanted_range(request: Request, etag: str) -> re.Match[str] | None:
    """The one range asked for; None without one, or with several, or if the file is another by now (RFC 9110)."""
    header = request.header("range")
    if header is None or request.method not in ("GET", "HEAD"):
        return None
    condition = request.header("if-range")
    if condition is not None and condition.strip() != f'"{etag}"':
        return None
    wanted = _RANGE.fullmatch(header.replace(" ", ""))
    if wanted is None or (wanted[2] and int(wanted[2]) < int(wanted[1])):
        return None
    return wanted


def _bounds(wanted: re.Match[str], size: int) -> tuple[int, int]:
    first, last, suffix = wanted.groups()
    if suffix is not None:
        return max(0, size - int(suffix)), size
    return int(first), min(size, int(last) + 1) if last else size


def _not_satisfiable(size: int) -> Response:
    body = render_json({"errcode": "M_UNKNOWN", "error": "The file does not reach that far."})
    return Response(body, 416, {"content-range": f"bytes */{size}"}, "application/json")
