"""Reading picture headers, and choosing thumbnail sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import encoded, gradient, moving
from PIL import Image

from homeserver.services.media.content_types import checked_content_type
from homeserver.services.media.image_header import ImageHeader, find_image_header
from homeserver.services.media.thumbnail_sizes import ThumbnailRequest, made_together, size_to_make


def test_headers_of_every_format() -> None:
    exif = Image.Exif()
    exif[0x010F] = "x" * 60_000
    files = {
        ImageHeader("image/jpeg", 301, 77): encoded(gradient(301, 77), "JPEG"),
        ImageHeader("image/jpeg", 302, 77): encoded(gradient(302, 77), "JPEG", progressive=True, exif=exif),
        ImageHeader("image/png", 301, 77): encoded(gradient(301, 77, "RGBA"), "PNG"),
        ImageHeader("image/png", 200, 150, animated=True): moving("PNG"),
        ImageHeader("image/gif", 200, 150, animated=True): moving("GIF"),
        ImageHeader("image/webp", 303, 77): encoded(gradient(303, 77), "WEBP"),
        ImageHeader("image/webp", 301, 78): encoded(gradient(301, 78), "WEBP", lossless=True),
        ImageHeader("image/webp", 301, 77): encoded(gradient(301, 77, "RGBA"), "WEBP", exif=exif),
        ImageHeader("image/webp", 200, 150, animated=True): moving("WEBP"),
    }
    assert {find_image_header(data) for data in files.values()} == set(files)


@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP"]), st.integers(0, 400), st.binary(max_size=40))
def test_headers_cut_short_or_scrambled_never_fail(kind: str, length: int, rest: bytes) -> None:
    header = find_image_header(_WHOLE[kind][:length] + rest)
    assert header is None or (header.width > 0 and header.height > 0)


_WHOLE = {kind: encoded(gradient(64, 64), kind) for kind in ("JPEG", "PNG", "GIF", "WEBP")}

requests = st.builds(
    ThumbnailRequest, st.integers(1, 5_000), st.integers(1, 5_000), st.sampled_from(["crop", "scale"]), st.booleans()
)


@given(requests)
def test_no_size_is_smaller_than_asked_for(request: ThumbnailRequest) -> None:
    size = size_to_make(request)
    assert size.width >= request.width
    assert size.height >= request.height
    assert size.animated == request.animated
    assert size in made_together(size)


def test_there_are_few_different_sizes() -> None:
    edges = range(1, 1_000, 3)
    crops = {size_to_make(ThumbnailRequest(width, height, "crop")) for width in edges for height in edges}
    assert len(crops) <= 160
    exact = {(96, 96): (96, 96), (320, 240): (480, 360), (1, 900): (60, 960), (160, 90): (240, 135)}
    for asked, served in exact.items():
        size = size_to_make(ThumbnailRequest(*asked, "crop"))
        assert (size.width, size.height) == served


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("text/plain", "text/plain"),
        (" image/svg+xml ", "image/svg+xml"),
        ('text/plain; charset="utf-8"; a=b', 'text/plain; charset="utf-8"; a=b'),
        (None, "application/octet-stream"),
        ("text/plain\r\nX: y", "application/octet-stream"),
        ("text/plain;", "application/octet-stream"),
        ("tëxt/plain", "application/octet-stream"),
    ],
)
def test_content_types(header: str | None, kept: str) -> None:
    assert checked_content_type(header) == kept
