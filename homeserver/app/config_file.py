"""Which settings file to use.

Kept apart from the rest, so that the command line starts fast.
"""

from __future__ import annotations

from pathlib import Path

DEFAULT_CONFIG = Path("homeserver.yaml")


def find_config(named: str | None) -> Path | None:
    """The settings file that is named, else homeserver.yaml of this folder where there is one."""
    if named is not None:
        return Path(named)
    return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None
