"""Commands beside the storage of a cache: they look after one that is there, and make none."""

import json
import os
from pathlib import Path

import pytest

from slap.cache.storage.folder import Folder
from tests.unit.cli.fakes import FakeTransport, Outcome, Shell


def typed(shell: Shell, *words: str) -> Outcome:
    return shell.run(FakeTransport({}), "cache", *words)


@pytest.mark.parametrize("words", [("gc", "--dry-run"), ("gc",), ("token", "node-1"), ("token", "node-1", "--revoke")])
def test_a_mistyped_folder_is_an_error_and_is_not_made(shell: Shell, words: tuple[str, ...]) -> None:
    seen = typed(shell, *words, "--folder", "cahce")
    assert (seen.status, seen.out) == (1, "")
    assert str(shell.folder / "cahce") in seen.err and "--folder" in seen.err
    assert not (shell.folder / "cahce").exists()


@pytest.mark.parametrize("words", [("gc", "--dry-run"), ("token", "node-1")])
def test_the_usual_folder_is_not_made_either(shell: Shell, words: tuple[str, ...]) -> None:
    seen = typed(shell, *words)
    assert seen.status == 1 and str(shell.folder / "home/.slapos/cache") in seen.err
    assert not (shell.folder / "home/.slapos").exists()


@pytest.mark.parametrize("kind", ["", "file://"])
def test_a_mistyped_storage_is_an_error(shell: Shell, kind: str) -> None:
    Folder(shell.folder / "cache/objects")
    other = shell.folder / "other"
    seen = typed(shell, "gc", "--folder", "cache", "--storage", f"{kind}{other}")
    assert seen.status == 1 and str(other) in seen.err
    assert not other.exists()


def test_a_folder_of_something_else_gets_no_files(shell: Shell) -> None:
    (shell.folder / "photos").mkdir()
    seen = typed(shell, "gc", "--dry-run", "--storage", str(shell.folder / "photos"))
    assert seen.status == 1 and not list((shell.folder / "photos").iterdir())


def test_an_empty_cache_has_no_garbage(shell: Shell) -> None:
    Folder(shell.folder / "cache/objects")
    seen = typed(shell, "gc", "--dry-run", "--folder", "cache")
    assert seen.status == 0 and "no garbage" in seen.err


def test_the_columns_of_garbage_are_named_as_those_of_other_lists(shell: Shell) -> None:
    Folder(shell.folder / "cache/objects").put("blob/" + "ab" * 64, [b"x"])
    _let_it_age(shell.folder / "cache/objects")
    seen = typed(shell, "gc", "--dry-run", "--folder", "cache", "-f", "json")
    assert json.loads(seen.out) == [{"what": "blob", "why": "no entry needs it", "number": 1, "bytes": 1}]


def test_each_name_of_tokens_is_told_once(shell: Shell) -> None:
    (shell.folder / "cache").mkdir()
    for name in ("node-1", "node-1", "node-2"):
        typed(shell, "token", name, "--folder", "cache")
    seen = typed(shell, "token", "node-3", "--revoke", "--folder", "cache")
    assert seen.status == 1 and "node-1, node-2." in seen.err and seen.err.count("node-1") == 1


def _let_it_age(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (0, 0))
