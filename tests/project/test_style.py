"""Rules of the house that no linter knows: short files, module docstrings, no middleware base class, no open ends."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("homeserver", "config", "federation", "plugins")
MOST_LINES = 500
FORBIDDEN_CLASS_NAMES = re.compile(r"(Manager|Helper|Helpers|Utils|Util|Base)$")
OPEN_ENDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
PLACES_OF_ONE_MACHINE = re.compile(r"(?<![\w.])/(work|root|home/\w+)/")


def source_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


SOURCES = names(source_files(*PACKAGES))
ALL = [*SOURCES, *names(source_files("tests")), "tasks.py"]


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 50


def test_files_are_short() -> None:
    assert [name for name in ALL if text_of(name).count("\n") > MOST_LINES] == []


def test_files_are_finished_and_know_no_machine() -> None:
    others = [name for name in ALL if Path(name).name != "test_style.py"]
    assert [name for name in others if OPEN_ENDS.search(text_of(name))] == []
    assert [name for name in others if PLACES_OF_ONE_MACHINE.search(text_of(name))] == []


def test_every_module_says_what_it_is_for() -> None:
    named_for_it = [name for name in ALL if Path(name).name.startswith("test_")]
    trees = {name: ast.parse(text_of(name)) for name in ALL if name not in named_for_it}
    assert [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_names_and_imports() -> None:
    nodes = [(name, node) for name in SOURCES for node in ast.walk(ast.parse(text_of(name)))]
    classes = [(name, node.name) for name, node in nodes if isinstance(node, ast.ClassDef)]
    assert [found for found in classes if FORBIDDEN_CLASS_NAMES.search(found[1])] == []
    modules = [(name, node.module) for name, node in nodes if isinstance(node, ast.ImportFrom)]
    assert [name for name, module in modules if module == "starlette.middleware.base"] == []


def test_the_top_level_is_fixed() -> None:
    fixed = {"homeserver", "plugins", "federation", "config", "docs", "tests", "homeserver.yaml.example"}
    fixed |= {"pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "tasks.py"}
    present = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert fixed <= present
    left_by_use = {"data", "homeserver.yaml", "dist", "build"}
    assert present - fixed - left_by_use == set()
