"""The plugin that makes thumbnails: every format, hostile files, and workers that die."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pictures import encoded, gradient, moving, opened, png_of_claimed_size
from PIL import Image

from homeserver.plugin_api.media import NotAnImage, Thumbnail, ThumbnailSize
from homeserver_plugins.media_thumbnails import PillowThumbnailer, WorkerLimits

SCALE = ThumbnailSize(320, 240, "scale")
CROP = ThumbnailSize(96, 96, "crop")
ANIMATED = ThumbnailSize(100, 100, "scale", animated=True)


@pytest.fixture
async def thumbnailer() -> AsyncIterator[PillowThumbnailer]:
    thumbnailer = PillowThumbnailer()
    yield thumbnailer
    await thumbnailer.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


async def made(thumbnailer: PillowThumbnailer, source: Path, data: bytes, *sizes: ThumbnailSize) -> list[Thumbnail]:
    source.write_bytes(data)
    return await thumbnailer.thumbnail(source, "image/png", sizes)


async def refusal(thumbnailer: PillowThumbnailer, source: Path, data: bytes) -> str:
    """Why there is no thumbnail; empty if there is one."""
    try:
        await made(thumbnailer, source, data, SCALE)
    except NotAnImage as error:
        return str(error)
    return ""


async def test_every_format(thumbnailer: PillowThumbnailer, source: Path) -> None:
    opaque, seen_through = gradient(800, 400), gradient(800, 400, "RGBA")
    files = {
        "jpeg": (encoded(opaque, "JPEG"), "image/jpeg"),
        "grey jpeg": (encoded(gradient(800, 400, "L"), "JPEG"), "image/jpeg"),
        "cmyk jpeg": (encoded(gradient(800, 400, "CMYK"), "JPEG"), "image/jpeg"),
        "png": (encoded(opaque, "PNG"), "image/jpeg"),
        "png with alpha": (encoded(seen_through, "PNG"), "image/png"),
        "png with useless alpha": (encoded(opaque.convert("RGBA"), "PNG"), "image/jpeg"),
        "png with palette": (encoded(opaque.convert("P"), "PNG"), "image/jpeg"),
        "png of two colours": (encoded(opaque.convert("1"), "PNG"), "image/jpeg"),
        "png of 16 bits": (encoded(Image.new("I;16", (800, 400), 40_000), "PNG"), "image/jpeg"),
        "apng": (moving("PNG", 800, 400), "image/jpeg"),
        "gif": (moving("GIF", 800, 400), "image/jpeg"),
        "webp": (encoded(opaque, "WEBP"), "image/jpeg"),
        "webp with alpha": (encoded(seen_through, "WEBP"), "image/png"),
        "avif": (encoded(opaque, "AVIF", speed=10), "image/jpeg"),
    }
    for name, (data, kind) in files.items():
        scaled, cropped = await made(thumbnailer, source, data, SCALE, CROP)
        assert (scaled.size, scaled.content_type, cropped.size, cropped.content_type) == (SCALE, kind, CROP, kind), name
        assert (opened(scaled.data).size, opened(cropped.data).size) == ((320, 160), (96, 96)), name
        assert "A" in opened(scaled.data).mode if kind == "image/png" else "A" not in opened(scaled.data).mode, name


async def test_sixteen_bits_keep_their_brightness(thumbnailer: PillowThumbnailer, source: Path) -> None:
    [thumbnail] = await made(thumbnailer, source, encoded(Image.new("I;16", (400, 400), 40_000), "PNG"), CROP)
    assert opened(thumbnail.data).getpixel((48, 48)) == pytest.approx(40_000 / 256, abs=3)


async def test_crop_takes_the_middle(thumbnailer: PillowThumbnailer, source: Path) -> None:
    picture = Image.new("RGB", (300, 100), "red")
    picture.paste((0, 0, 255), (100, 0, 200, 100))
    [thumbnail] = await made(thumbnailer, source, encoded(picture, "PNG"), ThumbnailSize(80, 80, "crop"))
    small = opened(thumbnail.data)
    assert small.size == (80, 80)
    for place in ((10, 40), (40, 40), (70, 40)):
        red, _, blue = small.getpixel(place)  # type: ignore[misc]
        assert blue > 200 > 60 > red


@pytest.mark.parametrize("size", [(2000, 1000), (20, 10)])
async def test_pictures_lie_as_the_camera_was_held(
    thumbnailer: PillowThumbnailer, source: Path, size: tuple[int, int]
) -> None:
    picture = Image.new("RGB", size, "blue")
    picture.paste((255, 0, 0), (0, 0, size[0] // 2, size[1]))  # the left half: on top once turned
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "WEBP"):
        [thumbnail] = await made(thumbnailer, source, encoded(picture, kind, exif=exif), SCALE)
        small = opened(thumbnail.data)
        assert small.size == ((120, 240) if size[0] > 20 else (10, 20)), kind
        assert 0x0112 not in small.getexif()
        assert small.convert("RGB").getpixel((small.width // 2, 2))[0] > 150, kind  # type: ignore[index]
        assert small.convert("RGB").getpixel((small.width // 2, small.height - 2))[0] < 100, kind  # type: ignore[index]


async def test_metadata_do_not_get_out(thumbnailer: PillowThumbnailer, source: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "camera of a private person"
    [thumbnail] = await made(
        thumbnailer, source, encoded(gradient(600, 600), "JPEG", exif=exif, comment=b"mine"), SCALE
    )
    assert b"private" not in thumbnail.data
    assert b"mine" not in thumbnail.data


async def test_nothing_is_made_larger(thumbnailer: PillowThumbnailer, source: Path) -> None:
    thumbnails = await made(thumbnailer, source, encoded(gradient(50, 200), "PNG"), SCALE, CROP)
    assert [opened(one.data).size for one in thumbnails] == [(50, 200), (50, 50)]
    thumbnails = await made(thumbnailer, source, encoded(gradient(3000, 1), "PNG"), SCALE, CROP)
    assert [opened(one.data).size for one in thumbnails] == [(320, 1), (1, 1)]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
async def test_moving_pictures_stay_moving_where_asked_for(
    thumbnailer: PillowThumbnailer, source: Path, kind: str
) -> None:
    animated, cropped, still = await made(
        thumbnailer, source, moving(kind), ANIMATED, ThumbnailSize(32, 32, "crop", animated=True), SCALE
    )
    assert (animated.content_type, cropped.content_type, still.content_type) == (
        "image/webp",
        "image/webp",
        "image/jpeg",
    )
    moves = opened(animated.data)
    assert (moves.size, getattr(moves, "n_frames", 1)) == ((100, 75), 3)
    assert opened(cropped.data).size == (32, 32)
    red, green, _ = opened(still.data).getpixel((50, 50))  # type: ignore[misc]
    assert (red, green) == (pytest.approx(0, abs=8), pytest.approx(255, abs=8)), "it is the first frame"


async def test_what_does_not_move_is_still(thumbnailer: PillowThumbnailer, source: Path) -> None:
    [thumbnail] = await made(thumbnailer, source, encoded(gradient(400, 400), "GIF"), ANIMATED)
    assert thumbnail.content_type == "image/jpeg"


async def test_hostile_and_broken_files(thumbnailer: PillowThumbnailer, source: Path) -> None:
    jpeg, png = encoded(gradient(900, 900), "JPEG"), encoded(gradient(900, 900), "PNG")
    files = {
        "bomb": png_of_claimed_size(20_000, 20_000),
        "just above the limit": png_of_claimed_size(10_001, 10_000),
        "truncated jpeg": jpeg[: len(jpeg) // 2],
        "truncated png": png[: len(png) // 2],
        "claims more than it has": png_of_claimed_size(3_000, 3_000),
        "text": b"hello",
        "empty": b"",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        "bmp": encoded(gradient(10, 10), "BMP"),
        "gif without frames": b"GIF89a\x10\x00\x10\x00\x00\x00\x00;",
    }
    for name, data in files.items():
        assert await refusal(thumbnailer, source, data), name
    workers = thumbnailer.process_ids
    assert len(await made(thumbnailer, source, jpeg, SCALE)) == 1
    assert thumbnailer.process_ids == workers, "none of it broke the worker"


async def test_too_many_frames_stand_still(source: Path) -> None:
    thumbnailer = PillowThumbnailer(WorkerLimits(max_pixels=200 * 150 * 2))
    try:
        [thumbnail] = await made(thumbnailer, source, moving("GIF"), ANIMATED)
        assert thumbnail.content_type == "image/jpeg"
    finally:
        await thumbnailer.close()


async def test_memory_is_bounded(source: Path) -> None:
    thumbnailer = PillowThumbnailer(WorkerLimits(memory_bytes=400_000_000))
    try:
        assert await refusal(thumbnailer, source, png_of_claimed_size(9_900, 9_900)) == "it needs too much memory"
        assert await refusal(thumbnailer, source, encoded(gradient(100, 100), "PNG")) == ""
    finally:
        await thumbnailer.close()


async def test_a_worker_that_dies_is_replaced(thumbnailer: PillowThumbnailer, source: Path) -> None:
    await made(thumbnailer, source, encoded(gradient(100, 100), "PNG"), SCALE)
    [first] = thumbnailer.process_ids
    os.kill(first, signal.SIGSTOP)
    source.write_bytes(encoded(gradient(100, 100), "PNG"))
    under_way = asyncio.create_task(thumbnailer.thumbnail(source, "image/png", [SCALE]))
    await asyncio.sleep(0.05)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(NotAnImage):
        await under_way
    assert thumbnailer.process_ids == []
    assert len(await made(thumbnailer, source, encoded(gradient(100, 100), "PNG"), SCALE)) == 1
    assert thumbnailer.process_ids not in ([], [first])


async def test_a_worker_that_takes_too_long_is_replaced(source: Path) -> None:
    thumbnailer = PillowThumbnailer(WorkerLimits(timeout_s=1.0))
    try:
        await made(thumbnailer, source, encoded(gradient(100, 100), "PNG"), SCALE)
        [first] = thumbnailer.process_ids
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(NotAnImage, match="too long"):
            await made(thumbnailer, source, encoded(gradient(100, 100), "PNG"), SCALE)
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        assert len(await made(thumbnailer, source, encoded(gradient(100, 100), "PNG"), SCALE)) == 1
    finally:
        await thumbnailer.close()


async def test_processor_time_is_bounded(source: Path) -> None:
    thumbnailer = PillowThumbnailer(WorkerLimits(cpu_s=0.0))
    try:
        with pytest.raises(NotAnImage):
            await made(thumbnailer, source, moving("GIF", 3000, 3000), ThumbnailSize(2000, 2000, "scale", True))
    finally:
        await thumbnailer.close()


async def test_the_event_loop_goes_on(thumbnailer: PillowThumbnailer, source: Path) -> None:
    await made(thumbnailer, source, encoded(gradient(10, 10), "PNG"), SCALE)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    source.write_bytes(encoded(gradient(3000, 3000), "PNG"))
    ticker = asyncio.create_task(tick())
    await thumbnailer.thumbnail(source, "image/png", [SCALE])
    ticker.cancel()
    assert ticks > 20


async def test_as_many_workers_as_allowed(tmp_path: Path) -> None:
    thumbnailer = PillowThumbnailer(workers=2)
    data = encoded(gradient(400, 400), "JPEG")
    try:
        await asyncio.gather(*(made(thumbnailer, tmp_path / str(number), data, SCALE) for number in range(6)))
        assert len(thumbnailer.process_ids) == 2
    finally:
        await thumbnailer.close()
    assert thumbnailer.process_ids == []
