"""The content repository assembled by hand beside the account services, over a directory and real thumbnail workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accounts_app import SERVER, AccountsApp, make_settings

from homeserver.client_api.authed_content_repo import AuthedContentRepoApi
from homeserver.client_api.content_repo import ContentRepoApi
from homeserver.protocol.errors import MatrixError, not_found
from homeserver.runtime.http_client import HttpClient
from homeserver.services.media.arrivals import Arrivals
from homeserver.services.media.intake import Intake
from homeserver.services.media.library import Library
from homeserver.services.media.ports import RemoteFile
from homeserver.services.media.retention import MediaRetention, lifetimes_of
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.services.media.uploads import Uploads
from homeserver.services.media.url_previews import UrlPreviews
from homeserver.testing import AsgiClient
from homeserver.web.app import build_asgi
from homeserver.web.endpoint import routes_of
from homeserver_plugins.media_disk import DiskMediaStore
from homeserver_plugins.media_thumbnails import PillowThumbnailer, WorkerLimits

V1 = "/_matrix/client/v1/media"
LEGACY = "/_matrix/media/v3"


@dataclass
class OtherServers:
    """Stands in for federation: the media other servers have, and how often they were asked."""

    files: dict[tuple[str, str], tuple[str, str | None, list[bytes]]] = field(default_factory=dict)
    asked: int = 0

    @asynccontextmanager
    async def fetch(
        self, server_name: str, media_id: str, *, max_bytes: int, timeout_ms: int
    ) -> AsyncIterator[RemoteFile]:
        self.asked += 1
        if (server_name, media_id) not in self.files:
            raise not_found("The other server does not have it.")
        content_type, filename, pieces = self.files[server_name, media_id]
        yield RemoteFile(content_type, filename, self._read(pieces))

    async def _read(self, pieces: list[bytes]) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece


@dataclass
class Quota:
    """A gate that counts, and refuses one type and one content."""

    asked: list[tuple[str, str, int | None]] = field(default_factory=list)

    async def check_upload(self, user_id: str, content_type: str, announced_size: int | None) -> None:
        self.asked.append((user_id, content_type, announced_size))
        if content_type == "application/x-forbidden":
            raise MatrixError("M_FORBIDDEN", "Not this type.", 403)

    async def check_uploaded(self, user_id: str, content_type: str, size: int, sha256: bytes) -> None:
        if size == 13:
            raise MatrixError("M_FORBIDDEN", "Not this content.", 403)


class MediaApp:
    """Everything of this subject, and `client` to call it without a token."""

    def __init__(self, folder: Path, **sections: dict[str, Any]) -> None:
        settings = make_settings(**sections)
        self.accounts = AccountsApp(folder / "accounts.db", settings)
        self.folder = folder / "media"
        self.database, self.clock, self.settings = self.accounts.database, self.accounts.clock, settings
        self.remote, self.quota = OtherServers(), Quota()
        self.store = DiskMediaStore(self.folder, fsync=False)
        self.thumbnailer = PillowThumbnailer(WorkerLimits())
        self.http = HttpClient(settings.outgoing)
        media, database, clock = settings.media, self.database, self.clock
        intake, arrivals = Intake(self.store, self.accounts.randomness), Arrivals(clock)
        self.uploads = Uploads(media, SERVER, database, clock, intake, arrivals, self.quota, most_pending=3)
        self.library = Library(media, SERVER, database, clock, self.store, intake, arrivals, self.remote)
        self.thumbnails = Thumbnails(media, SERVER, database, self.store, self.library, self.thumbnailer)
        self.previews = UrlPreviews(media, SERVER, database, clock, intake, self.http)
        self.retention = MediaRetention(lifetimes_of(media), database, clock, self.store)
        parts = self.uploads, self.library, self.thumbnails, self.previews
        routes = [route for api in (ContentRepoApi(*parts), AuthedContentRepoApi(*parts)) for route in routes_of(api)]
        self.client = AsgiClient(build_asgi(routes, self.accounts.tokens, self.accounts.limits))

    async def user(self, name: str = "alice") -> AsgiClient:
        """A logged-in client of a new account."""
        owner = await self.accounts.user(name)
        return self.client.with_token(owner._token)

    def stored_files(self) -> list[Path]:
        """What is on the disk."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@asynccontextmanager
async def running_media(folder: Path, **sections: dict[str, Any]) -> AsyncIterator[MediaApp]:
    """The app over a new database and directory in `folder`, with settings changed by section."""
    app = MediaApp(folder, **sections)
    await app.database.open()
    await app.store.prepare(app.clock.now_ms())
    try:
        yield app
    finally:
        await app.previews.stop()
        await app.thumbnails.stop()
        await app.library.stop()
        await app.thumbnailer.close()
        await app.http.close()
        await app.accounts.background.stop()
        await app.database.close()
        app.accounts.passwords.close()


async def uploaded(client: AsgiClient, data: bytes, content_type: str, filename: str | None = None) -> str:
    """Upload at once; `/<server>/<media id>`."""
    query = {"filename": filename} if filename is not None else None
    answer = await client.post(f"{LEGACY}/upload", body=data, headers={"content-type": content_type}, query=query)
    assert answer.status == 200, answer.body
    return str(answer.json["content_uri"]).removeprefix("mxc:/")
