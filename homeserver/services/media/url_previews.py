"""Previews of web pages: fetched by this server so that the page does not learn who looks at the link.

Spec: client-server-api #get_matrixclientv1mediapreview_url
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import orjson

from homeserver.protocol.errors import MatrixError, forbidden, invalid_param, too_large
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.runtime.http_client import RemoteFailure, StreamedResponse
from homeserver.services.media.content_types import THUMBNAIL_TYPES, essence_of
from homeserver.services.media.page_metadata import PAGE_BYTES, read_page
from homeserver.services.media.single_flight import SingleFlight
from homeserver.storage import media as media_rows
from homeserver.storage import url_previews as preview_rows
from homeserver.storage.media import Media, StoredBytes

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.http_client import HttpClient
    from homeserver.services.media.intake import Intake
    from homeserver.storage.database import Database
    from homeserver_config.sections.media import MediaSettings

_LONGEST_URL = 2_048
_MOST_PREVIEWS = 20_000
_REMEMBERED_FAILURES = 1_000
_FAILURE_MS = 60_000
_TIMEOUT_S = 15.0
_REDIRECTS = 5
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_PICTURES = THUMBNAIL_TYPES | {"image/avif"}
_SAFE_IN_URLS = "!#$%&'()*+,/:;=?@[]~"

Preview = dict[str, Any]


class UrlPreviews:
    """Makes previews, and keeps them for `url_preview_lifetime`."""

    def __init__(
        self,
        settings: MediaSettings,
        server_name: str,
        database: Database,
        clock: Clock,
        intake: Intake,
        http: HttpClient,
    ) -> None:
        self._settings = settings
        self._server_name = server_name
        self._database = database
        self._clock = clock
        self._intake = intake
        self._http = http
        self._fetches: SingleFlight[str, Preview] = SingleFlight()
        self._failed_ms: BoundedCache[str, int] = BoundedCache("failed_url_previews", _REMEMBERED_FAILURES)

    async def get(self, url: str) -> Preview:
        """The OpenGraph data of a page; empty for what is neither a page nor a picture.

        M_FORBIDDEN if previews are off, M_INVALID_PARAM for what is no web address, M_UNKNOWN (502) if it cannot be
        fetched, for whatever reason: saying more would tell strangers of the network this server stands in.
        """
        if not self._settings.url_previews:
            raise forbidden("This server makes no previews of links.")
        url = _checked_url(url)
        since_ms = self._clock.now_ms() - self._settings.url_preview_lifetime
        kept = await self._database.read(preview_rows.find_preview, url, since_ms)
        if kept is not None:
            preview: Preview = orjson.loads(kept)
            return preview
        failed_ms = self._failed_ms.find(url)
        if failed_ms is not None and failed_ms > self._clock.now_ms() - _FAILURE_MS:
            raise _cannot_be_fetched()
        return await self._fetches.run(url, lambda: self._fetch(url))

    async def stop(self) -> None:
        """End fetches under way."""
        await self._fetches.stop()

    async def _fetch(self, url: str) -> Preview:
        try:
            preview = await self._preview_of(url)
        except RemoteFailure:
            self._failed_ms.put(url, self._clock.now_ms())
            raise _cannot_be_fetched() from None
        await self._database.write(
            preview_rows.store_preview, url, orjson.dumps(preview), self._clock.now_ms(), _MOST_PREVIEWS
        )
        return preview

    async def _preview_of(self, url: str) -> Preview:
        async with self._http.stream(
            "GET",
            url,
            headers={"accept": "text/html, image/*;q=0.9, */*;q=0.1", "accept-language": "en, *;q=0.5"},
            timeout_s=_TIMEOUT_S,
            max_bytes=self._settings.url_preview_max_size,
            redirects=_REDIRECTS,
        ) as response:
            content_type = response.headers.get("content-type", "")
            if response.status != 200:
                raise RemoteFailure(f"the answer was {response.status}")
            if essence_of(content_type) in _PICTURES:
                return await self._take_picture(response, essence_of(content_type)) or {}
            if essence_of(content_type) not in _PAGES:
                return {}
            page, final_url = await _beginning_of(response), response.url
        metadata = await asyncio.to_thread(read_page, page, content_type, final_url)
        preview: Preview = dict(metadata.properties)
        if metadata.image_url is not None:
            preview |= await self._picture_at(metadata.image_url)
        return preview

    async def _picture_at(self, url: str) -> Preview:
        """The keys that speak of a page's picture; none if it cannot be had."""
        try:
            async with self._http.stream(
                "GET",
                _checked_url(url),
                headers={"accept": "image/*"},
                timeout_s=_TIMEOUT_S,
                max_bytes=self._settings.url_preview_max_size,
                redirects=_REDIRECTS,
            ) as response:
                content_type = essence_of(response.headers.get("content-type", ""))
                if response.status != 200 or content_type not in _PICTURES:
                    return {}
                return await self._take_picture(response, content_type) or {}
        except (RemoteFailure, MatrixError):
            return {}

    async def _take_picture(self, response: StreamedResponse, content_type: str) -> Preview | None:
        limit = self._settings.url_preview_max_size
        stored = await self._intake.take(response.chunks(), limit, too_large("This picture is too large."))
        media = self._new_row(content_type, stored)
        try:
            await self._database.write(media_rows.create_media, media)
        except BaseException:
            await self._intake.discard(stored)
            raise
        preview: Preview = {
            "og:image": f"mxc://{self._server_name}/{media.media_id}",
            "og:image:type": content_type,
            "matrix:image:size": stored.size,
        }
        if stored.width is not None and stored.height is not None:
            preview |= {"og:image:width": stored.width, "og:image:height": stored.height}
        return preview

    def _new_row(self, content_type: str, stored: StoredBytes) -> Media:
        now_ms = self._clock.now_ms()
        return Media(
            server_name=self._server_name,
            media_id=stored.store_id,
            kind="preview",
            user_id=None,
            content_type=content_type,
            filename=None,
            created_ms=now_ms,
            last_access_ms=now_ms,
            public=self._settings.unauthenticated_downloads,
            size=stored.size,
            sha256=stored.sha256,
            store_id=stored.store_id,
            width=stored.width,
            height=stored.height,
            animated=stored.animated,
        )


def _cannot_be_fetched() -> MatrixError:
    return MatrixError("M_UNKNOWN", "This page cannot be fetched.", 502)


def _checked_url(url: str) -> str:
    """The address as it is sent, without its fragment. M_INVALID_PARAM."""
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port
    except ValueError:
        raise invalid_param("This is not the address of a web page.") from None
    if parts.scheme not in ("http", "https") or not host or len(url) > _LONGEST_URL:
        raise invalid_param("This is not the address of a web page.")
    if parts.username is not None or parts.password is not None:
        raise invalid_param("An address with a password in it is not previewed.")
    literal = f"[{host}]" if ":" in host else host
    place = literal if port is None else f"{literal}:{port}"
    path = quote(parts.path or "/", safe=_SAFE_IN_URLS)
    query = f"?{quote(parts.query, safe=_SAFE_IN_URLS)}" if parts.query else ""
    return f"{parts.scheme}://{place}{path}{query}"


async def _beginning_of(response: StreamedResponse) -> bytes:
    page = bytearray()
    chunks: AsyncIterator[bytes] = response.chunks()
    async for chunk in chunks:
        page += chunk
        if len(page) >= PAGE_BYTES:
            break
    return bytes(page[:PAGE_BYTES])
