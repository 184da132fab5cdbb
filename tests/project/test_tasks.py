"""The task file and the texts around it: it explains itself, runs on bare Python, and the texts name real commands."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tasks(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", str(ROOT / "tasks.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_explains_itself() -> None:
    for done in (tasks(), tasks("nonsense")):
        assert done.returncode == 2
        for command in ("run", "test", "check", "format", "generate"):
            assert f"  {command}" in done.stdout


def test_it_needs_nothing_but_python() -> None:
    tree = ast.parse((ROOT / "tasks.py").read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/install.md", ".ci/run"])
def test_texts_name_real_commands(name: str) -> None:
    named = set(re.findall(r"tasks\.py (\w+)", (ROOT / name).read_text()))
    assert named
    assert named <= {"run", "test", "check", "format", "generate"}


def test_the_changelog_knows_this_version() -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert re.search(
        rf"^## \[{re.escape(version[1])}\]|^## \[Unreleased\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


@pytest.mark.parametrize(
    "path", [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.name
)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
