"""An object store for tests: moto's server in a process of its own on loopback, with one bucket."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from server_process import free_port

from homeserver_plugins.media_s3.plugin import open_client
from homeserver_plugins.media_s3.settings import S3Settings
from homeserver_plugins.media_s3.store import S3MediaStore

BUCKET = "media-of-tests"
_START_TIMEOUT_S = 60


@contextmanager
def running_object_store() -> Iterator[str]:
    """The store's URL."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_answer(f"{url}/moto-api/data.json", process)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def s3_settings(url: str, **changes: Any) -> dict[str, Any]:
    """The plugin's settings for it."""
    return {
        "bucket": BUCKET,
        "endpoint": url,
        "region": "us-east-1",
        "path_style": True,
        "access_key_id": "testing",
        "secret_access_key": "testing",
        **changes,
    }


@asynccontextmanager
async def s3_client(url: str) -> AsyncIterator[Any]:
    """A client of the store, whose bucket is there and empty."""
    async with open_client(S3Settings.model_validate(s3_settings(url))) as client:
        await client.create_bucket(Bucket=BUCKET)
        for found in (await client.list_objects_v2(Bucket=BUCKET)).get("Contents", ()):
            await client.delete_object(Bucket=BUCKET, Key=found["Key"])
        yield client


def media_store(client: Any, url: str, **changes: Any) -> S3MediaStore:
    """The plugin's store over an open client."""
    store = S3MediaStore(S3Settings.model_validate(s3_settings(url, **changes)))
    store.connect(client)
    return store


def _await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(_START_TIMEOUT_S * 20):
        assert process.poll() is None, "moto's server ended"
        try:
            urlopen(url, timeout=1).close()
        except (URLError, OSError):
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("moto's server does not answer")
