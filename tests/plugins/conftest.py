"""The third-party plugin as people get it: built into a wheel and installed, once for all tests of this folder."""

import importlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing

THIRD_PARTY = Path(__file__).parent / "third_party"
_BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.fixture(scope="session")
def greeter_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the third-party package, made by its own build backend."""
    source, wheels = tmp_path_factory.mktemp("greeter"), tmp_path_factory.mktemp("wheels")
    shutil.copytree(THIRD_PARTY, source, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(wheels)], cwd=source, capture_output=True, text=True, check=True
    )
    return wheels / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def greeter_site(greeter_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the third-party package installed in it."""
    site = tmp_path_factory.mktemp("site")
    subprocess.run(
        [*_installer(), "install", "--no-deps", "--no-index", "--target", str(site), str(greeter_wheel)],
        capture_output=True,
        text=True,
        check=True,
    )
    return site


@pytest.fixture
def greeter(greeter_site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The third-party package installed beside the server."""
    monkeypatch.syspath_prepend(greeter_site)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("starling_greeter", None)


def _installer() -> list[str]:
    """pip, however this machine has it: in this environment, from ensurepip's wheel, or as uv."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if importlib.util.find_spec("ensurepip") is not None:
        bundled = Path(str(importlib.util.find_spec("ensurepip").submodule_search_locations[0])) / "_bundled"
        for wheel in sorted(bundled.glob("pip-*.whl")):
            return [sys.executable, str(wheel / "pip"), "--disable-pip-version-check"]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip"]
    raise RuntimeError("neither pip, ensurepip nor uv is here")


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Keeps what plugins fail at in memory: drawing tracebacks takes longer than everything else."""
    with structlog.testing.capture_logs():
        yield
