"""`/_matrix/client/v1/media`: downloads, thumbnails and previews, for users and guests of this server only.

Spec: client-server-api #content-repository
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from homeserver.client_api.media_requests import download, thumbnail
from homeserver.client_api.paths import v1
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.media.library import Library
    from homeserver.services.media.thumbnails import Thumbnails
    from homeserver.services.media.uploads import Uploads
    from homeserver.services.media.url_previews import UrlPreviews


class AuthedContentRepoApi:
    """Downloads for those who have logged in."""

    def __init__(self, uploads: Uploads, library: Library, thumbnails: Thumbnails, previews: UrlPreviews) -> None:
        self._uploads = uploads
        self._library = library
        self._thumbnails = thumbnails
        self._previews = previews

    @endpoint(
        "GET",
        v1("/media/download/{serverName}/{mediaId}"),
        auth=Auth.GUEST_OK,
        operation="getContentAuthed",
        limit="media_download",
    )
    async def get_content(self, request: Request, requester: Requester) -> Response:
        return await download(self._library, request)

    @endpoint(
        "GET",
        v1("/media/download/{serverName}/{mediaId}/{fileName}"),
        auth=Auth.GUEST_OK,
        operation="getContentOverrideNameAuthed",
        limit="media_download",
    )
    async def get_content_override_name(self, request: Request, requester: Requester) -> Response:
        return await download(self._library, request)

    @endpoint(
        "GET",
        v1("/media/thumbnail/{serverName}/{mediaId}"),
        auth=Auth.GUEST_OK,
        operation="getContentThumbnailAuthed",
        limit="media_download",
    )
    async def get_content_thumbnail(self, request: Request, requester: Requester) -> Response:
        return await thumbnail(self._thumbnails, request)

    @endpoint("GET", v1("/media/preview_url"), operation="getUrlPreviewAuthed", limit="url_preview")
    async def get_url_preview(self, request: Request, requester: Requester) -> JsonValue:
        return await self._previews.get(request.query_str("url"))

    @endpoint("GET", v1("/media/config"), auth=Auth.GUEST_OK, operation="getConfigAuthed")
    async def get_config(self, request: Request, requester: Requester) -> JsonValue:
        return {"m.upload.size": self._uploads.max_size}
