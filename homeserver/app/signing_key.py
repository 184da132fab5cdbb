"""The file with the server's signing key: read at the start, made at the first start.

The format is the one other Matrix servers use: `ed25519 <version> <unpadded base64 seed>`, one key per line.
"""

from __future__ import annotations

import os
from pathlib import Path

from homeserver.protocol.base64 import decode_base64, encode_base64
from homeserver.protocol.signing import SigningKey
from homeserver.runtime.randomness import Randomness


class BadSigningKey(Exception):
    """The file is there but holds no signing key."""


def load_or_create_signing_key(path: Path, randomness: Randomness) -> SigningKey:
    """The key in `path`. Raises BadSigningKey, with what to do about it."""
    if not path.exists():
        return _create(path, randomness)
    lines = [line for line in path.read_text(encoding="ascii", errors="replace").splitlines() if line.strip()]
    parts = lines[0].split() if lines else []
    if len(parts) != 3 or parts[0] != "ed25519":
        raise BadSigningKey(
            f"{path} holds no signing key: a line `ed25519 <version> <seed>` was expected. "
            "Restore the file from a backup; other servers know this server by its key."
        )
    try:
        return SigningKey(parts[1], decode_base64(parts[2]))
    except ValueError as error:
        raise BadSigningKey(f"The signing key in {path} is damaged: {error}. Restore it from a backup.") from None


def _create(path: Path, randomness: Randomness) -> SigningKey:
    version, seed = f"a_{randomness.letters(4)}", randomness.bytes(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"ed25519 {version} {encode_base64(seed)}\n")
    return SigningKey(version, seed)
