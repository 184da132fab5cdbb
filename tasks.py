#!/usr/bin/env python3
"""The project's commands, with nothing but Python: `python3 tasks.py run | test | check | format | generate`.
Each makes .venv and installs what it needs, once, and again when pyproject.toml has changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
OLDEST_PYTHON = (3, 11)
GENERATORS = (
    "homeserver_config.example",
    "homeserver.plugin_api.hook_docs",
)  # modules with `main(["--check"])`, run by `generate` and `check`

NO_INSTALLER = """\
This Python can make virtual environments but not install packages into them: neither ensurepip, pip nor uv is here.
  Debian, Ubuntu:  apt install python3-venv
  elsewhere:       install pip (https://pip.pypa.io/en/stable/installation/) or uv
Then run the same command again."""


def main(arguments: list[str]) -> int:
    commands = {"run": run, "test": test, "check": check, "format": format_code, "generate": generate}
    if not arguments or arguments[0] not in commands:
        print(__doc__)
        print("  run [arguments]   start the server (arguments go to `homeserver run`)")
        print("  test [arguments]  run all tests (arguments go to pytest)")
        print("  check             style, types, layers, generated files")
        print("  format            put the code in the one format")
        print("  generate          write the generated files anew")
        return 2
    use_new_enough_python()
    return commands[arguments[0]](arguments[1:])


def run(arguments: list[str]) -> int:
    install("", "run")
    program = str(SCRIPTS / "homeserver")
    if os.name == "posix":
        os.chdir(ROOT)
        os.execv(program, [program, "run", *arguments])  # the server takes the signals itself
    return call(program, "run", *arguments)


def test(arguments: list[str]) -> int:
    install("[dev]", "dev")
    if not any(argument.startswith(("-n", "--numprocesses")) for argument in arguments):
        arguments = ["-n", "2", *arguments]
    return call(sys_python(), "-m", "pytest", *arguments)


def check(arguments: list[str]) -> int:
    install("[dev]", "dev")
    steps = [
        [str(SCRIPTS / "ruff"), "check", "."],
        [str(SCRIPTS / "ruff"), "format", "--check", "."],
        [str(SCRIPTS / "mypy")],
        [str(SCRIPTS / "lint-imports")],
        *([sys_python(), "-m", module, "--check"] for module in GENERATORS),
    ]
    failed = [step for step in steps if call(*step) != 0]
    for step in failed:
        print("FAILED:", Path(step[0]).name, *step[1:])
    return 1 if failed else 0


def format_code(arguments: list[str]) -> int:
    install("[dev]", "dev")
    return call(str(SCRIPTS / "ruff"), "check", "--fix", ".") or call(str(SCRIPTS / "ruff"), "format", ".")


def generate(arguments: list[str]) -> int:
    install("[dev]", "dev")
    return max(call(sys_python(), "-m", module) for module in GENERATORS)


def sys_python() -> str:
    return str(SCRIPTS / "python")


def call(*command: str) -> int:
    return subprocess.call(command, cwd=ROOT)


def use_new_enough_python() -> None:
    """Go on under a newer Python of this machine, if the one that started us is too old."""
    if sys.version_info >= OLDEST_PYTHON:
        return
    for minor in range(14, 10, -1):
        newer = shutil.which(f"python3.{minor}")
        if newer is not None:
            raise SystemExit(subprocess.call([newer, str(Path(__file__).resolve()), *sys.argv[1:]]))
    raise SystemExit(f"Starling needs Python 3.11 or newer; this is {sys.version.split()[0]}.")


def install(extra: str, stamp_name: str) -> None:
    """Make .venv and install the project into it, editable, unless that was done for this pyproject.toml."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamps = [VENV / f".installed-{name}" for name in {stamp_name, "dev"}]  # dev includes what run needs
    if any(stamp.exists() and stamp.read_text() == wanted for stamp in stamps):
        return
    installer = make_environment()
    print("Installing the project into .venv; this takes a minute the first time.", flush=True)
    if subprocess.call([*installer, "-e", f"{ROOT}{extra}"], cwd=ROOT) != 0:
        raise SystemExit("The installation failed; see the lines above.")
    (VENV / f".installed-{stamp_name}").write_text(wanted)


def make_environment() -> list[str]:
    """Make .venv where it is missing; the start of the command that installs into it."""
    quiet = ["--quiet", "--disable-pip-version-check"]
    own_pip = [sys_python(), "-m", "pip", "install", *quiet]
    if not (SCRIPTS / "python").exists() and not (SCRIPTS / "python.exe").exists():
        print("Making .venv", flush=True)
        venv.create(VENV, with_pip=works(sys.executable, "-c", "import ensurepip"), clear=True)
    if works(sys_python(), "-c", "import pip"):
        return own_pip
    if works(sys.executable, "-c", "import ensurepip") and works(sys_python(), "-m", "ensurepip"):
        return own_pip
    if works(sys.executable, "-m", "pip", "--python", sys_python(), "--version"):
        return [sys.executable, "-m", "pip", "--python", sys_python(), "install", *quiet]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--python", sys_python()]
    raise SystemExit(NO_INSTALLER)


def works(*command: str) -> bool:
    return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
