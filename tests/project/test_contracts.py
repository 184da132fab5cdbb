"""The import rules hold, and each of them would notice a violation: one is planted for each in a copy of the tree."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("homeserver", "config", "federation", "plugins")

PLANTED = {
    "Imports point downwards only": (
        "homeserver/services/planted_upwards.py",
        "import homeserver.client_api",
    ),
    "The protocol is pure: no I/O, no clock, no randomness, no async, no settings": (
        "homeserver/protocol/planted_clock.py",
        "import time",
    ),
    "Plugins import only the plugin seam and the protocol": (
        "plugins/homeserver_plugins/planted_insider.py",
        "import homeserver.services",
    ),
    "The plugin seam knows no storage": (
        "homeserver/plugin_api/planted_query.py",
        "import homeserver.storage",
    ),
    "HTTP handlers never touch storage": (
        "homeserver/client_api/planted_query.py",
        "import homeserver.storage",
    ),
    "Handlers of the server-server API never touch storage": (
        "federation/homeserver_federation/server_api/planted_query.py",
        "import homeserver.storage",
    ),
    "The core never imports federation or a plugin": (
        "homeserver/services/planted_federation.py",
        "import homeserver_federation",
    ),
    "One HTTP client: runtime.http_client over aiohttp": (
        "federation/homeserver_federation/planted_client.py",
        "import httpx",
    ),
}

# The same rule from its other sides: in which layer, and what it must not import.
PLANTED_LAYERS = {
    "homeserver/storage/planted_sideways.py": "import homeserver.web",
    "homeserver/web/planted_upwards.py": "import homeserver.plugin_api",
    "homeserver/runtime/planted_upwards.py": "import homeserver.storage",
    "homeserver/protocol/planted_sideways.py": "import homeserver.runtime",
    "homeserver/client_api/planted_sideways.py": "import homeserver_federation",
    "config/homeserver_config/planted_upwards.py": "import homeserver.protocol",
}


def lint(tree: Path) -> str:
    path = os.pathsep.join(str(tree / part) for part in (".", "config", "federation", "plugins"))
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    done = subprocess.run(
        command,
        cwd=tree,
        env={**os.environ, "PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy of the tree with every violation in it."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    for place, line in [*PLANTED.values(), *PLANTED_LAYERS.items()]:
        (tree / place).write_text(f"{line}\n")
    return lint(tree)


def section_of(report: str, contract: str) -> str:
    """The part of the report that explains why a contract is broken."""
    details = report.partition("Broken contracts")[2]
    parts = re.split(r"\n([^\n]+)\n-{3,}\n", details)
    return dict(zip(parts[1::2], parts[2::2], strict=False)).get(contract, "")


def module_of(place: str) -> str:
    path = re.sub(r"^(config|federation|plugins)/", "", place)
    return path.removesuffix(".py").replace("/", ".")


def test_the_tree_keeps_every_contract() -> None:
    assert ", 0 broken" in lint(ROOT)


def test_every_contract_has_a_planted_violation() -> None:
    names = re.findall(r'^name = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert set(PLANTED) == set(names) - {"starling-homeserver"}


@pytest.mark.parametrize("contract", sorted(PLANTED))
def test_each_contract_sees_its_violation(report: str, contract: str) -> None:
    assert f"{contract} BROKEN" in report
    assert module_of(PLANTED[contract][0]) in section_of(report, contract)


@pytest.mark.parametrize("place", sorted(PLANTED_LAYERS))
def test_the_layers_are_closed_on_every_side(report: str, place: str) -> None:
    assert module_of(place) in section_of(report, "Imports point downwards only")
