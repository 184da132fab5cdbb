"""Tells stories of seeds, a line for each: `PYTHONHASHSEED=0 python -m simulation 0-199`, with `tests` on the path."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

import structlog
from simulation.world import tell


def main(argument: str) -> int:
    """How many seeds failed. The order of sets depends on the seed of hashes, so it must be fixed."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        raise SystemExit("Set PYTHONHASHSEED=0, or the same seed takes another course every time.")
    if "-v" not in sys.argv:
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(open(os.devnull, "w")))  # noqa: SIM115
    first, _, last = argument.partition("-")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(int(first), int(last or first) + 1):
            failed += not _passes(seed, Path(folder))
            gc.collect()
    return failed


def _passes(seed: int, folder: Path) -> bool:
    of_seed = folder / str(seed)
    of_seed.mkdir()
    began = time.perf_counter()
    try:
        story = tell(seed, of_seed, folder / "template.db")
    except Exception:  # noqa: BLE001 (told, and counted)
        print(f"seed {seed} FAILED\n{traceback.format_exc()}", flush=True)
        return False
    print(f"seed {seed} {story.course} {time.perf_counter() - began:.2f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1]), 100))
