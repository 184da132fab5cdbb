"""How many thumbnails a second of processor makes: `python tests/benchmarks/thumbnails.py [--seconds 3]`.

Runs the worker's own function in this process, so that nothing but the making of thumbnails is counted.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in (".", "config", "federation", "plugins", "tests")]

from pictures import encoded, gradient  # noqa: E402
from PIL import Image  # noqa: E402

from homeserver.services.media.thumbnail_sizes import STANDARD_SIZES  # noqa: E402
from homeserver_plugins.media_thumbnails.worker import Size, thumbnails_of  # noqa: E402

STANDARD = [Size(size.width, size.height, size.method, False) for size in STANDARD_SIZES]
CASES = {
    "96x96 crop": [Size(96, 96, "crop", False)],
    "five standard sizes": STANDARD,
    "moving 320x240": [Size(320, 240, "scale", True)],
}


def sources() -> Iterator[tuple[str, bytes, list[str]]]:
    """Name, file, and the cases that are of interest."""
    still = ["96x96 crop", "five standard sizes"]
    noise = Image.effect_noise((2_000, 1_500), 40).convert("RGB")
    photo = Image.blend(gradient(4_000, 3_000), noise.resize((4_000, 3_000)), 0.2)
    yield "12 MP JPEG", encoded(photo, "JPEG", quality=90), still
    small = photo.resize((2_000, 1_500))
    yield "3 MP PNG", encoded(small, "PNG", compress_level=1), still
    small.putalpha(Image.linear_gradient("L").resize(small.size))
    yield "3 MP PNG with alpha", encoded(small, "PNG", compress_level=1), still
    yield "3 MP WebP", encoded(small.convert("RGB"), "WEBP"), still
    yield "24 frames of GIF", moving_of(24), ["96x96 crop", "moving 320x240"]


def moving_of(frames: int) -> bytes:
    pictures = [gradient(480, 360).rotate(number * 5) for number in range(frames)]
    return encoded(pictures[0], "GIF", save_all=True, append_images=pictures[1:], duration=50)


def processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(path: str, sizes: list[Size], seconds: float) -> tuple[float, float]:
    """Thumbnails per second of processor, and milliseconds of processor per picture."""
    thumbnails_of(path, sizes, 100_000_000)
    started, until, rounds = processor_s(), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        thumbnails_of(path, sizes, 100_000_000)
        rounds += 1
    used = processor_s() - started
    return rounds * len(sizes) / used, used / rounds * 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each case runs")
    seconds = parser.parse_args().seconds
    print(f"{'source':22} {'case':22} {'per CPU second':>15} {'CPU ms a picture':>17}")
    with tempfile.TemporaryDirectory() as folder:
        for name, data, cases in sources():
            path = Path(folder) / "source"
            path.write_bytes(data)
            for case in cases:
                rate, milliseconds = measure(str(path), CASES[case], seconds)
                print(f"{name:22} {case:22} {rate:15.1f} {milliseconds:17.1f}")


if __name__ == "__main__":
    main()
