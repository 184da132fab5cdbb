"""A Python of its own for bridges that others have written, made when first asked for: their pins are not ours."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent / "bridges"
_REQUIREMENTS = SCRIPTS / "requirements.txt"
# Beside the server's own packages, where nobody looks for source code.
_VENV = Path(__file__).parents[2] / ".venv" / "bridges"


def bridge_python() -> str:
    """The interpreter that has what requirements.txt names. Several test workers may ask at once."""
    python = _VENV / "bin" / "python"
    wanted = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    stamp = _VENV / ".installed"
    _VENV.parent.mkdir(exist_ok=True)
    with _REQUIREMENTS.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            for command in _commands(str(python)):
                _run(command)
            stamp.write_text(wanted)
    return str(python)


def _commands(python: str) -> list[list[str]]:
    """Make the environment and install into it: with uv where it is, else with what comes along."""
    uv = shutil.which("uv")
    if uv is not None:
        return [
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(_VENV)],
            [uv, "pip", "install", "--quiet", "--python", python, "-r", str(_REQUIREMENTS)],
        ]
    return [
        [sys.executable, "-m", "venv", "--clear", str(_VENV)],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(_REQUIREMENTS)],
    ]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
