"""The program of one worker process: reads requests from its input, writes thumbnails to its output, ends with it.

It is run by its path and imports Pillow alone; it may use so much memory and processor time, and write no files.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

from PIL import Image, ImageOps, ImageSequence

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF")
_REDUCING_GAP = 2.0
_JPEG_QUALITY = 82
_WEBP_QUALITY = 75
_CASCADE_FROM = 1.5  # a smaller thumbnail is made of a larger one that is so many times its size
_LONGEST_PROFILE = 8_192
_SIDEWAYS = frozenset({5, 6, 7, 8})
_ORIENTATION = 0x0112
_BAD_PICTURE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,
)


class Size(NamedTuple):
    """One thumbnail that is wanted."""

    width: int
    height: int
    method: str
    animated: bool

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """To what a picture is scaled before anything is cut off; never up."""
        ratios = self.width / width, self.height / height
        ratio = min(1.0, max(ratios) if self.method == "crop" else min(ratios))
        return max(1, round(width * ratio)), max(1, round(height * ratio))


def main(arguments: Sequence[str]) -> None:
    max_pixels, memory_bytes, cpu_s = int(arguments[0]), int(arguments[1]), float(arguments[2])
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = max_pixels
    Image.preinit()
    Image.init()
    _limit_process(memory_bytes)
    for line in sys.stdin.buffer:
        _limit_next(cpu_s)
        _answer(sys.stdout.buffer, json.loads(line), max_pixels)


def _answer(output: BinaryIO, request: dict[str, Any], max_pixels: int) -> None:
    sizes = [Size(*size) for size in request["sizes"]]
    pictures: list[tuple[str, bytes]] = []
    head: dict[str, Any]
    try:
        pictures = thumbnails_of(request["path"], sizes, max_pixels)
        head = {"thumbnails": [[kind, len(data)] for kind, data in pictures]}
    except MemoryError:
        head = {"error": "it needs too much memory"}
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        head = {"error": "it has too many pixels"}
    except _BAD_PICTURE:
        head = {"error": "it is damaged, or not a picture of a known kind"}
    output.write(json.dumps(head).encode() + b"\n")
    output.writelines(data for _, data in pictures)
    output.flush()


def thumbnails_of(path: str, sizes: Sequence[Size], max_pixels: int) -> list[tuple[str, bytes]]:
    """Content type and bytes for each size, in order. Raises whatever Pillow does for what it cannot read."""
    with Image.open(path, formats=_FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise Image.DecompressionBombError
        moving = [size for size in sizes if size.animated]
        if not (moving and _moves(image, max_pixels)):
            moving = []
        made: dict[Size, tuple[str, bytes]] = {size: _animated(image, size) for size in moving}
        if len(made) < len(sizes):
            image.seek(0)
            made |= _stills(image, [size for size in sizes if size not in made])
        return [made[size] for size in sizes]


def _moves(image: Image.Image, max_pixels: int) -> bool:
    """Whether there is more than one frame, and not too much of it in all."""
    if image.format == "MPO":
        return False  # several views of one thing, not moments
    frames = getattr(image, "n_frames", 1)
    return 1 < frames <= max_pixels // (image.width * image.height)


def _stills(image: Image.Image, sizes: Sequence[Size]) -> dict[Size, tuple[str, bytes]]:
    """One decode for all sizes; each is made of the smallest larger one that is large enough."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    sideways = orientation in _SIDEWAYS
    full = image.size[::-1] if sideways else image.size
    largest = max((size.fit(*full) for size in sizes), key=math.prod)
    if image.format in ("JPEG", "MPO"):
        asked = largest[::-1] if sideways else largest
        image.draft(None, (math.ceil(asked[0] * _REDUCING_GAP), math.ceil(asked[1] * _REDUCING_GAP)))
    profile = image.info.get("icc_profile")
    upright = ImageOps.exif_transpose(_shrunk(image, largest, sideways))
    picture = _plain(upright)
    if upright.mode != picture.mode or not profile or len(profile) > _LONGEST_PROFILE:
        profile = None
    sources = [picture]
    made: dict[Size, tuple[str, bytes]] = {}
    for size in sorted(sizes, key=lambda one: math.prod(one.fit(*full)), reverse=True):
        target = size.fit(*full)
        source = next((one for one in reversed(sources) if one.width >= target[0] * _CASCADE_FROM), picture)
        scaled = _resized(source, target)
        if size.method == "scale":
            sources.append(scaled)
        made[size] = _encoded(_cropped(scaled, size), profile)
    return made


def _shrunk(image: Image.Image, largest: tuple[int, int], sideways: bool) -> Image.Image:
    """The decoded picture, coarsely reduced first if it is much larger than anything wanted."""
    needed = largest[::-1] if sideways else largest
    factor = int(min(image.width / needed[0], image.height / needed[1]) / _REDUCING_GAP)
    if factor < 2 or image.mode in ("P", "1", "PA") or image.mode.startswith("I"):
        return image
    reduced = image.reduce(factor)
    reduced.info = dict(image.info)
    exif = image.getexif()
    if _ORIENTATION in exif:
        reduced.getexif()[_ORIENTATION] = exif[_ORIENTATION]
    return reduced


def _plain(image: Image.Image) -> Image.Image:
    """As L, RGB or, where something can be seen through, RGBA."""
    if image.mode.startswith("I;16"):
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    elif image.mode in ("I", "F"):
        image = image.convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return image.convert("RGB") if image.getchannel("A").getextrema() == (255, 255) else image
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def _resized(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    if image.size == target:
        return image
    return image.resize(target, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)


def _cropped(image: Image.Image, size: Size) -> Image.Image:
    """The middle, in the shape that is wanted. Of a picture smaller than that, as much as it has."""
    if size.method != "crop":
        return image
    ratio = min(image.width / size.width, image.height / size.height, 1.0)
    width, height = max(1, round(size.width * ratio)), max(1, round(size.height * ratio))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _encoded(image: Image.Image, profile: bytes | None) -> tuple[str, bytes]:
    output = BytesIO()
    image.info = {}  # Pillow writes comments and more from there: where a photo was taken is nobody's business
    extra: dict[str, Any] = {"icc_profile": profile} if profile else {}
    if image.mode == "RGBA":
        image.save(output, "PNG", compress_level=6, **extra)
        return "image/png", output.getvalue()
    image.save(output, "JPEG", quality=_JPEG_QUALITY, progressive=True, **extra)
    return "image/jpeg", output.getvalue()


def _animated(image: Image.Image, size: Size) -> tuple[str, bytes]:
    durations: list[int] = []

    def frames() -> Iterator[Image.Image]:
        for frame in ImageSequence.Iterator(image):
            durations.append(int(frame.info.get("duration") or 100))
            whole = frame.convert("RGBA")
            still = _cropped(_resized(whole, size.fit(*whole.size)), size)
            still.info = {}
            yield still

    first, *rest = frames()
    output = BytesIO()
    first.save(
        output,
        "WEBP",
        save_all=True,
        append_images=rest,
        duration=durations,
        loop=int(image.info.get("loop", 0) or 0),
        quality=_WEBP_QUALITY,
        method=2,
    )
    return "image/webp", output.getvalue()


def _limit_process(memory_bytes: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":  # elsewhere it counts what is never used, or is not counted at all
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _limit_next(cpu_s: float) -> None:
    """So much processor time more; then the system ends this process."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime + cpu_s), hard))


if __name__ == "__main__":
    main(sys.argv[1:])
