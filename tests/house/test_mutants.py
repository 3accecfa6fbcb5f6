"""The entries of tests/mutants stay true when code changes: each finds its code, and its tests are there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.entries import FOLDER, ROOT, Mutant, list_mutants


def problems(mutants: list[Mutant]) -> Iterator[str]:
    for mutant in mutants:
        if (ROOT / mutant.file).read_text().count(mutant.find) != 1:
            yield f"{mutant.defence}: not exactly once in {mutant.file}"
        if mutant.find == mutant.replace:
            yield f"{mutant.defence}: changes nothing"
        paths = [test.partition("::")[0] for test in mutant.tests if test.startswith("tests/")]
        if not paths or not all((ROOT / path).exists() for path in paths):
            yield f"{mutant.defence}: names no test"


def test_each_mutant_finds_its_code_and_its_tests() -> None:
    assert list(problems(list_mutants())) == []


def test_an_entry_that_fits_nothing_is_found() -> None:
    entry = Mutant("A defence", "README.md", "words that are not there", "", ("tests/nowhere.py",))
    assert len(list(problems([entry]))) == 2


def test_a_mutant_is_made_of_code_that_is_there_once() -> None:
    mutant = Mutant("A defence", "README.md", "b", "c", ("tests",))
    assert mutant.apply("abd") == "acd"
    with pytest.raises(ValueError):
        mutant.apply("abb")


def test_an_entry_is_read_as_written(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[[mutant]]\ndefence = "d"\nfile = "f"\nfind = "x"\nreplace = ""\ntests = ["t"]\n')
    assert list_mutants(tmp_path) == [Mutant("d", "f", "x", "", ("t",))]
    assert FOLDER.is_dir()
