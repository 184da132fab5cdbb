"""Builds the content repository over the store and the thumbnailer that plugins provide.

Without a store there is no media: uploads and downloads say so.
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.plugin_api.hooks import Hooks
from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import Clock
from homeserver.runtime.http_client import HttpClient
from homeserver.runtime.randomness import Randomness
from homeserver.services.media.arrivals import Arrivals
from homeserver.services.media.intake import Intake
from homeserver.services.media.library import Library
from homeserver.services.media.ports import NoThumbnailer, OpenUploadGate, RemoteMedia
from homeserver.services.media.retention import MediaRetention, lifetimes_of
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.services.media.uploads import Uploads
from homeserver.services.media.url_previews import UrlPreviews
from homeserver.storage.database import Database
from homeserver_config.settings import Settings

_ACCESS_EVERY_S = 60.0
_RETENTION_EVERY_S = 3_600.0


@dataclass(frozen=True, slots=True)
class MediaParts:
    """What the HTTP side and other parts use of media."""

    uploads: Uploads
    library: Library
    thumbnails: Thumbnails
    previews: UrlPreviews
    retention: MediaRetention

    def start(self, background: BackgroundTasks) -> None:
        """Begin writing down what was read, and forgetting what is old."""
        background.run_every("media-access", _ACCESS_EVERY_S, self.library.flush_accesses)
        background.run_every("media-retention", _RETENTION_EVERY_S, self.retention.run)

    async def stop(self) -> None:
        """Let work under way end. The store must still be there."""
        await self.previews.stop()
        await self.thumbnails.stop()
        await self.library.stop()


def build_media(
    settings: Settings,
    database: Database,
    clock: Clock,
    randomness: Randomness,
    http: HttpClient,
    hooks: Hooks,
    remote: RemoteMedia,
) -> MediaParts | None:
    """Everything about media; None when no plugin provides a store."""
    store = hooks.media_store(settings.media.store)
    if store is None:
        return None
    server_name, media = settings.server.server_name, settings.media
    intake, arrivals = Intake(store, randomness), Arrivals(clock)
    uploads = Uploads(media, server_name, database, clock, intake, arrivals, OpenUploadGate())
    library = Library(media, server_name, database, clock, store, intake, arrivals, remote)
    thumbnailer = hooks.thumbnailer() or NoThumbnailer()
    return MediaParts(
        uploads,
        library,
        Thumbnails(media, server_name, database, store, library, thumbnailer),
        UrlPreviews(media, server_name, database, clock, intake, http),
        MediaRetention(lifetimes_of(media), database, clock, store),
    )
