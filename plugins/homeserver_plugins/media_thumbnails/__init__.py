"""The plugin `media_thumbnails`: makes thumbnails with Pillow, in processes of their own.

A picture made to break a decoder breaks a process that holds no secrets, and that is replaced.
"""

from __future__ import annotations

from pydantic import Field

from homeserver.plugin_api import ByteSize, Duration, PluginContext, Section, Thumbnailer, hookimpl
from homeserver_plugins.media_thumbnails.workers import PillowThumbnailer, WorkerLimits

__all__ = ["PillowThumbnailer", "Plugin", "ThumbnailSettings", "WorkerLimits"]


class ThumbnailSettings(Section):
    """How thumbnails are made, and what one picture may cost."""

    workers: int = Field(default=1, ge=1, le=8, description="How many thumbnails are made at once, each in a process.")
    max_pixels: int = Field(
        default=100_000_000,
        ge=1,
        description="Larger pictures get no thumbnail; moving ones with more pixels times frames a still one.",
    )
    memory: ByteSize = Field(default=ByteSize.parse("1G"), description="What a worker process may use.")
    cpu_time: Duration = Field(default=Duration.parse("20s"), description="Processor time for one picture.")
    timeout: Duration = Field(default=Duration.parse("40s"), description="Time for one picture, waiting aside.")


class Plugin:
    """Provides the maker of thumbnails."""

    Settings = ThumbnailSettings

    def __init__(self, context: PluginContext, settings: ThumbnailSettings) -> None:
        limits = WorkerLimits(
            max_pixels=settings.max_pixels,
            memory_bytes=settings.memory,
            cpu_s=settings.cpu_time.seconds,
            timeout_s=settings.timeout.seconds,
        )
        self._thumbnailer = PillowThumbnailer(limits, workers=settings.workers)

    @hookimpl
    def provide_thumbnailer(self) -> Thumbnailer:
        return self._thumbnailer

    @hookimpl
    async def on_stop(self) -> None:
        await self._thumbnailer.close()
