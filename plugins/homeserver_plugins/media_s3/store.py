"""Implements `MediaStore` and `MediaLinks` on a bucket: streamed in parts, read in ranges, linked to with signed URLs.
A file can be seen when it is whole: S3 shows an object, in one part or many, once its upload is completed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from homeserver.plugin_api import MatrixError
from homeserver_plugins.media_s3.settings import S3Settings

_MEDIA_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_/.-]{0,199}", re.ASCII)
_READ_BYTES = 262_144
_MOST_PARTS = 10_000


class S3MediaStore:
    """Keeps each file under `<prefix><id>`. `connect` must have been called before anything else."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._client: Any = None

    def connect(self, client: Any) -> None:
        """Use this open client from now on."""
        self._client = client

    async def store(self, media_id: str, chunks: AsyncIterator[bytes]) -> None:
        """Send it in one piece if it fits into a part, otherwise part by part, each as soon as it is full."""
        place = self._place_of(media_id)
        with _as_unavailable():
            await self._send(place, _in_parts(chunks, self._settings.part_size))

    async def open(self, media_id: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        place = self._place_of(media_id)
        if end is not None and end <= start:
            if not await self.exists(media_id):
                raise KeyError(media_id)
            return _nothing()
        wanted = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        try:
            with _as_unavailable(404, 416):
                answer = await self._client.get_object(**place, **wanted)
        except ClientError as error:
            if status_of(error) == 416:
                return _nothing()
            raise KeyError(media_id) from error
        return _read(answer["Body"])

    async def delete(self, media_id: str) -> None:
        with _as_unavailable():
            await self._client.delete_object(**self._place_of(media_id))

    async def exists(self, media_id: str) -> bool:
        try:
            with _as_unavailable(404):
                await self._client.head_object(**self._place_of(media_id))
        except (KeyError, ClientError):
            return False
        return True

    async def find_link(self, media_id: str, content_type: str, content_disposition: str) -> str | None:
        """The CDN's URL, or one of the bucket that is signed for a short time and answers with these headers."""
        if not self._settings.redirect:
            return None
        place = self._place_of(media_id)
        if self._settings.cdn_base_url is not None:
            return f"{self._settings.cdn_base_url.rstrip('/')}/{quote(place['Key'])}"
        headers = {"ResponseContentType": content_type, "ResponseContentDisposition": content_disposition}
        link: str = await self._client.generate_presigned_url(
            "get_object", Params={**place, **headers}, ExpiresIn=self._settings.redirect_lifetime // 1000
        )
        return link

    async def _send(self, place: dict[str, str], parts: AsyncIterator[bytes]) -> None:
        upload: dict[str, str] | None = None
        done: list[dict[str, object]] = []
        try:
            async for part in parts:
                if upload is None and len(part) < self._settings.part_size:
                    await self._client.put_object(**place, **self._object_settings(), Body=part)
                    return
                if upload is None:
                    upload = await self._begin(place)
                if len(done) == _MOST_PARTS:
                    raise MatrixError("M_TOO_LARGE", f"S3 takes {_MOST_PARTS} parts; raise part_size.", 413)
                done.append(await self._send_part(upload, len(done) + 1, part))
                del part  # not to be held while the next one fills
            if upload is not None:
                await self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})
        except BaseException:
            if upload is not None:
                # Parts of uploads that nobody ends are paid for, and seen by nobody.
                await asyncio.shield(self._abort(upload))
            raise

    async def _begin(self, place: dict[str, str]) -> dict[str, str]:
        begun = await self._client.create_multipart_upload(**place, **self._object_settings())
        return {**place, "UploadId": begun["UploadId"]}

    async def _send_part(self, upload: dict[str, str], number: int, part: bytes) -> dict[str, object]:
        answer = await self._client.upload_part(**upload, PartNumber=number, Body=part)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    async def _abort(self, upload: dict[str, str]) -> None:
        with suppress(ClientError, BotoCoreError):
            await self._client.abort_multipart_upload(**upload)

    def _place_of(self, media_id: str) -> dict[str, str]:
        """Bucket and key of an id. KeyError for what is no id."""
        if _MEDIA_ID.fullmatch(media_id) is None or ".." in media_id:
            raise KeyError(media_id)
        return {"Bucket": self._settings.bucket, "Key": self._settings.prefix + media_id}

    def _object_settings(self) -> dict[str, str]:
        """What is kept beside the bytes: whoever gets at the object directly shall save it, not run it."""
        kept = {"ContentType": "application/octet-stream", "ContentDisposition": "attachment"}
        if self._settings.encryption != "none":
            kept["ServerSideEncryption"] = self._settings.encryption
        if self._settings.kms_key_id is not None:
            kept["SSEKMSKeyId"] = self._settings.kms_key_id
        return kept


@contextmanager
def _as_unavailable(*expected: int) -> Iterator[None]:
    """Turns failures of the store into 502 for whoever asked, but for the `expected` statuses."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and status_of(error) in expected:
            raise
        raise MatrixError("M_UNKNOWN", "The object store of this server does not serve it just now.", 502) from error


def status_of(error: ClientError) -> int:
    """The HTTP status of the store's answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


async def _in_parts(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of `size`, the last one smaller; at least one piece."""
    buffer = bytearray()
    number = 0
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= size:
            number += 1
            yield _cut(buffer, size)
    if buffer or number == 0:
        yield bytes(buffer)


def _cut(buffer: bytearray, size: int) -> bytes:
    """Take the first bytes out, copying them once."""
    with memoryview(buffer) as view, view[:size] as first:
        part = bytes(first)
    del buffer[:size]
    return part


async def _read(body: Any) -> AsyncIterator[bytes]:
    async with body as stream:
        while chunk := await stream.content.read(_READ_BYTES):
            yield chunk


async def _nothing() -> AsyncIterator[bytes]:
    empty: tuple[bytes, ...] = ()
    for chunk in empty:
        yield chunk
