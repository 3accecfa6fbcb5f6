"""The linters, as tests."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.sources import ROOT, all_texts

BIN = Path(sys.executable).parent
CHECK = ("ruff", "check", "--no-cache", "--quiet")
FORMAT = ("ruff", "format", "--no-cache", "--check")
SHEBANG = "#!/usr/bin/env python"

pytestmark = pytest.mark.lint


@pytest.mark.parametrize("command", [CHECK, FORMAT, pytest.param(("mypy",), marks=pytest.mark.first)], ids=" ".join)
def test_the_tree_passes(command: tuple[str, ...]) -> None:
    done = _run(*command)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("command", "bad"),
    [
        ((*CHECK, "--stdin-filename", "slap/a.py", "-"), "try:\n    a = 1\nexcept Exception:\n    pass\n"),
        ((*FORMAT, "--stdin-filename", "slap/a.py", "-"), "a  =  1\n"),
    ],
)
def test_a_bad_source_is_refused(command: tuple[str, ...], bad: str) -> None:
    assert _run(*command, stdin=bad).returncode == 1


def test_a_function_without_types_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f(a): return a\n")
    done = _run("mypy", "--cache-dir=/dev/null", str(tmp_path / "a.py"))
    assert "no-untyped-def" in done.stdout


def test_a_name_that_a_test_module_has_not_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from tests.interpreter import GONE\n")
    done = _run("mypy", "--cache-dir=/dev/null", str(tmp_path / "a.py"))
    assert "attr-defined" in done.stdout


def test_types_are_checked_wherever_there_is_python() -> None:
    python = [each.name for each in all_texts() if each.name.endswith(".py") or each.text.startswith(SHEBANG)]
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
    folders = tuple(f"{place}/" for place in checked)
    left = [name for name in python if not (name.endswith(".py") and name.startswith(folders))]
    assert set(left) <= set(checked)


def _run(program: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / program, *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True, check=False
    )
