"""The linters, as tests."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import ROOT

BIN = Path(sys.executable).parent
CHECK = ("ruff", "check", "--no-cache", "--quiet")
FORMAT = ("ruff", "format", "--no-cache", "--check")

pytestmark = pytest.mark.lint


@pytest.mark.parametrize("command", [CHECK, FORMAT, ("mypy",)], ids=" ".join)
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


def _run(program: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / program, *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True, check=False
    )
