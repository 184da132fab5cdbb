"""The two media plugins as the server runs them: found by name, configured, started and stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pictures import encoded, gradient

from homeserver.plugin_api import PluginContext, ThumbnailSize
from homeserver.plugin_api.loader import Plugins, find_plugins
from homeserver.runtime.clock import ManualClock
from homeserver.runtime.randomness import SeededRandomness
from homeserver_config import ConfigError
from homeserver_config.sections.plugins import PluginEntry


def entries(*plugins: dict[str, Any]) -> list[PluginEntry]:
    return [PluginEntry.model_validate(plugin) for plugin in plugins]


async def one_chunk(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_they_run_and_end(tmp_path: Path) -> None:
    def context_of(plugin: str) -> PluginContext:
        unused: Any = None
        return PluginContext(
            plugin=plugin,
            server_name="example.org",
            public_baseurl="https://example.org",
            data_directory=tmp_path / plugin,
            clock=ManualClock(),
            randomness=SeededRandomness(1),
            http=unused,
            log=structlog.get_logger(),
            store=unused,
            rooms=unused,
            accounts=unused,
            event_log=unused,
            jobs=unused,
            mail=unused,
            pushers=unused,
            openid=unused,
        )

    found = find_plugins(entries({"name": "media_disk"}, {"name": "media_thumbnails", "settings": {"workers": 2}}))
    plugins = Plugins(found, context_of)
    await plugins.start()
    store, thumbnailer = plugins.hooks.media_store(), plugins.hooks.thumbnailer()
    assert store is not None
    assert thumbnailer is not None
    await store.store("abc", one_chunk(b"kept"))
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.is_relative_to(tmp_path / "media_disk")
    (tmp_path / "picture").write_bytes(encoded(gradient(100, 100), "PNG"))
    [thumbnail] = await thumbnailer.thumbnail(tmp_path / "picture", "image/png", [ThumbnailSize(10, 10)])
    assert thumbnail.content_type == "image/jpeg"
    await plugins.stop()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "media_disk", "settings": {"folder": "x"}},
        {"name": "media_thumbnails", "settings": {"workers": 0}},
        {"name": "media_thumbnails", "settings": {"memory": "much"}},
    ],
)
def test_wrong_settings_are_found(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        find_plugins(entries(wrong))
