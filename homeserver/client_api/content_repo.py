"""`/_matrix/media`: uploads, and the deprecated endpoints for downloads without a login.

What was uploaded while `media.unauthenticated_downloads` was on can be had here; everything else is not found.

Spec: client-server-api #content-repository
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from homeserver.client_api.media_requests import download, thumbnail
from homeserver.protocol.errors import JsonValue
from homeserver.services.accounts.tokens import check_not_suspended
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.media.library import Library
    from homeserver.services.media.thumbnails import Thumbnails
    from homeserver.services.media.uploads import Uploads
    from homeserver.services.media.url_previews import UrlPreviews


def _media(path: str) -> list[str]:
    """The templates of a media endpoint: today's version, and the older ones that clients still ask for."""
    return [f"/_matrix/media/{version}{path}" for version in ("v3", "r0", "v1")]


class ContentRepoApi:
    """Uploads, and downloads as they were before they needed a login."""

    def __init__(self, uploads: Uploads, library: Library, thumbnails: Thumbnails, previews: UrlPreviews) -> None:
        self._uploads = uploads
        self._library = library
        self._thumbnails = thumbnails
        self._previews = previews

    @endpoint("POST", _media("/upload"), operation="uploadContent", limit="media_upload")
    async def upload_content(self, request: Request, requester: Requester) -> JsonValue:
        check_not_suspended(requester)
        uri = await self._uploads.upload(
            requester.user_id,
            request.header("content-type"),
            request.find_query("filename"),
            request.stream(),
            request.content_length,
        )
        return {"content_uri": uri}

    @endpoint("POST", "/_matrix/media/v1/create", operation="createContent", limit="media_upload")
    async def create_content(self, request: Request, requester: Requester) -> JsonValue:
        check_not_suspended(requester)
        uri, expires_ms = await self._uploads.create(requester.user_id)
        return {"content_uri": uri, "unused_expires_at": expires_ms}

    @endpoint("PUT", _media("/upload/{serverName}/{mediaId}"), operation="uploadContentToMXC", limit="media_upload")
    async def upload_content_to_mxc(self, request: Request, requester: Requester) -> JsonValue:
        check_not_suspended(requester)
        await self._uploads.upload_to(
            requester.user_id,
            request.path["serverName"],
            request.path["mediaId"],
            request.header("content-type"),
            request.find_query("filename"),
            request.stream(),
            request.content_length,
        )
        return {}

    @endpoint("GET", _media("/config"), auth=Auth.GUEST_OK, operation="getConfig")
    async def get_config(self, request: Request, requester: Requester) -> JsonValue:
        return {"m.upload.size": self._uploads.max_size}

    @endpoint("GET", _media("/preview_url"), operation="getUrlPreview", limit="url_preview")
    async def get_url_preview(self, request: Request, requester: Requester) -> JsonValue:
        return await self._previews.get(request.query_str("url"))

    @endpoint(
        "GET",
        _media("/download/{serverName}/{mediaId}"),
        auth=Auth.NONE,
        operation="getContent",
        limit="media_download",
    )
    async def get_content(self, request: Request) -> Response:
        return await download(self._library, request, public_only=True)

    @endpoint(
        "GET",
        _media("/download/{serverName}/{mediaId}/{fileName}"),
        auth=Auth.NONE,
        operation="getContentOverrideName",
        limit="media_download",
    )
    async def get_content_override_name(self, request: Request) -> Response:
        return await download(self._library, request, public_only=True)

    @endpoint(
        "GET",
        _media("/thumbnail/{serverName}/{mediaId}"),
        auth=Auth.NONE,
        operation="getContentThumbnail",
        limit="media_download",
    )
    async def get_content_thumbnail(self, request: Request) -> Response:
        return await thumbnail(self._thumbnails, request, public_only=True)
