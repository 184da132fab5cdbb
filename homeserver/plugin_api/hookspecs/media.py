"""Hooks about media: where the bytes are kept, and who makes thumbnails of them."""

from __future__ import annotations

from typing import Protocol

from homeserver.plugin_api.markers import hookspec
from homeserver.plugin_api.media import MediaStore, Thumbnailer


class MediaHooks(Protocol):
    @hookspec
    def provide_media_store(self) -> MediaStore:
        """The place where media are kept. Where several plugins provide one, `media.store` names the plugin."""

    @hookspec
    def provide_thumbnailer(self) -> Thumbnailer:
        """The maker of thumbnails; one plugin at most."""
