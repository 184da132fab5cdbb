"""Connects to the object store when the server starts, and lets go of it when it stops."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import aioboto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from homeserver.plugin_api import MediaStore, PluginContext, PluginError, hookimpl
from homeserver_plugins.media_s3.settings import S3Settings
from homeserver_plugins.media_s3.store import S3MediaStore, status_of

_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 60
_ATTEMPTS = 3


class Plugin:
    """Provides the store of media."""

    Settings = S3Settings

    def __init__(self, context: PluginContext, settings: S3Settings) -> None:
        self._log = context.log
        self._settings = settings
        self._store = S3MediaStore(settings)
        self._open = AsyncExitStack()

    @hookimpl
    def provide_media_store(self) -> MediaStore:
        return self._store

    @hookimpl
    async def on_start(self) -> None:
        """A store that does not answer just now must not keep the chat from starting; a wrong bucket must."""
        client = await self._open.enter_async_context(open_client(self._settings))
        self._store.connect(client)
        try:
            await client.head_bucket(Bucket=self._settings.bucket)
        except ClientError as error:
            if status_of(error) == 404:
                await self._open.aclose()
                raise PluginError(f"there is no bucket {self._settings.bucket}") from error
            self._log.warning("the bucket could not be looked at", status=status_of(error))
        except BotoCoreError as error:
            self._log.warning("the object store does not answer", reason=str(error))

    @hookimpl
    async def on_stop(self) -> None:
        await self._open.aclose()


def open_client(settings: S3Settings) -> Any:
    """An async context manager with a client of the store."""
    secret = settings.secret_access_key
    session = aioboto3.Session(
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret.reveal() if secret is not None else None,
        region_name=settings.region,
    )
    return session.client("s3", endpoint_url=settings.endpoint, config=_client_config(settings))


def _client_config(settings: S3Settings) -> Config:
    return Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
        max_pool_connections=settings.connections,
        signature_version="s3v4",
        s3={"addressing_style": "path" if settings.path_style else "auto"},
        # Other makers' stores refuse the trailing checksums that Amazon's client sends by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
