"""One revision of a repository: what is accepted as one, and what git is asked."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from slap.recipes.git import Recipe
from tests.unit.recipes.parts import ScriptedRunner, failure, part_of, refusal

REVISION = "0123456789" * 4
REMOTE = "ssh://example/repository"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "option repository is missing"),
        ({"repository": "--upload-pack=x", "revision": REVISION}, "option repository is '--upload-pack=x'"),
        ({"repository": REMOTE}, "revision or branch: give exactly one"),
        ({"repository": REMOTE, "revision": REVISION, "branch": "main"}, "give exactly one"),
        ({"repository": REMOTE, "revision": "0123456"}, "a whole commit id"),
        ({"repository": REMOTE, "branch": "main"}, "allow-moving = true"),
        ({"repository": REMOTE, "branch": "-x", "allow_moving": "true"}, "the name of a branch"),
    ],
)
def test_wrong_options_are_told(options: dict[str, str], words: str, tmp_path: Path) -> None:
    assert words in refusal(Recipe, tmp_path, **options)


def asked(part: Recipe, fails: str = "nothing") -> list[str]:
    def answer(argv: Sequence[str]) -> int:
        return int(fails in argv)

    part.runner = runner = ScriptedRunner(answer)
    part.install()
    return [" ".join(command.argv) for command in runner.commands]


def test_only_the_revision_is_fetched(tmp_path: Path) -> None:
    part = part_of(Recipe, tmp_path, repository=REMOTE, revision=REVISION)
    assert asked(part)[2:] == [
        f"git fetch --quiet --depth 1 origin -- {REVISION}",
        f"git checkout --quiet --detach {REVISION}",
    ]


def test_a_server_that_gives_out_no_single_commits_is_asked_for_all(tmp_path: Path) -> None:
    part = part_of(Recipe, tmp_path, repository=REMOTE, revision=REVISION)
    assert "git fetch --quiet --tags origin" in asked(part, fails="--depth")


def test_submodules_are_fetched_when_asked_for(tmp_path: Path) -> None:
    part = part_of(Recipe, tmp_path, repository=REMOTE, branch="main", allow_moving="yes", submodules="yes")
    assert asked(part)[-1] == "git submodule update --quiet --init --recursive"


def test_a_repository_from_the_network_may_not_name_files_of_ours(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    for repository, allowed in (("local", True), (REMOTE, False)):
        part = part_of(Recipe, tmp_path, repository=repository, revision=REVISION)
        assert ("protocol.file.allow=always" in asked(part)[0]) is allowed


def test_offline_only_a_local_repository_will_do(tmp_path: Path) -> None:
    part = part_of(Recipe, tmp_path, repository=REMOTE, revision=REVISION)
    part.offline = True
    assert "buildout is offline" in failure(part)
