"""Every operation of the specification is served, and docs/spec_coverage.md says by what."""

from __future__ import annotations

import re

from spec_coverage import PAGE, ROOT, missing, operations, served

_ROW = re.compile(r"\| (\w+) `([^`]+)` \| `([^`]+)` \| (?:`([^`]+)`)? \|")


def test_nothing_is_missing() -> None:
    assert missing() == []


def test_the_page_is_in_step() -> None:
    rows = {(method, path): (function, test) for method, path, function, test in _ROW.findall(PAGE.read_text())}
    functions = served()
    wanted = {(one.method, one.path): functions[one.key] for one in operations()}
    assert {key: function for key, (function, _) in rows.items()} == wanted
    for _, test in rows.values():
        if test:
            file, _, name = test.partition("::")
            assert f"def {name.rpartition('::')[2]}(" in (ROOT / "tests" / file).read_text(), test


def test_nearly_everything_is_exercised() -> None:
    rows = _ROW.findall(PAGE.read_text())
    bare = [f"{method} {path}" for method, path, _, test in rows if not test]
    assert len(bare) <= len(rows) // 20, bare
