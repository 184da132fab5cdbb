"""Pictures for tests, drawn here: every format, with and without transparency, moving, turned, broken and hostile."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image


def gradient(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Red from left to right, green from top to bottom; with "RGBA" half of it can be seen through."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    picture = Image.merge("RGB", (across, down, Image.new("L", (width, height), 128)))
    if mode == "RGBA":
        picture.putalpha(across)
        return picture
    return picture.convert(mode)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file."""
    output = BytesIO()
    picture.save(output, kind, **options)
    return output.getvalue()


def moving(kind: str, width: int = 200, height: int = 150, frames: int = 3) -> bytes:
    """A picture of several frames."""
    pictures = [Image.new("RGB", (width, height), (80 * number, 255 - 80 * number, 40)) for number in range(frames)]
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:], duration=[40, 80, 120][:frames])


def png_of_claimed_size(width: int, height: int) -> bytes:
    """A small file that says it is a large picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1_000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def opened(data: bytes) -> Image.Image:
    """The file decoded."""
    picture = Image.open(BytesIO(data))
    picture.load()
    return picture
