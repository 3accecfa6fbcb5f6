"""What the comparison with SlapOS claims is shown by tests: each one that it names exists."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs/explanation/compared-with-slapos.md"
NAMED = re.compile(r"`([a-z_/0-9]+\.py)::(test_\w+)`")


def test_each_test_that_is_named_exists() -> None:
    named = NAMED.findall(PAGE.read_text())
    assert len(named) > 40
    assert [f"{file}::{name}" for file, name in named if not _exists(PROJECT / "tests" / file, name)] == []


def test_each_row_names_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    without = [row for row in rows if not NAMED.search(row) and not row.endswith(("| test |", "| --- |"))]
    assert without == []


def _exists(file: Path, name: str) -> bool:
    return file.exists() and f"\ndef {name}(" in file.read_text()
