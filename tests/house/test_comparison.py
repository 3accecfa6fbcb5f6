"""The page that compares this project with SlapOS names tests: each of them is there."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
_NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (PROJECT / "docs/explanation/compared-with-slapos.md").read_text())


def test_tests_are_named() -> None:
    assert len(_NAMED) > 10


@pytest.mark.parametrize(("file", "name"), sorted(set(_NAMED)))
def test_a_test_that_is_named_is_there(file: str, name: str) -> None:
    assert re.search(rf"^(    )?def {name}\(", (PROJECT / file).read_text(), re.MULTILINE)
