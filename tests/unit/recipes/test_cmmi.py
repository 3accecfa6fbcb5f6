"""Building from source: what is decided before anything runs, and what is told when it fails."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from slap.recipes.cmmi import Recipe
from slap.recipes.common.base import RecipeError
from slap.recipes.common.source import DebianSource
from slap.system.debian import SourcePackage, parse_sources, version_key
from tests.unit.recipes.parts import ScriptedRunner, failure, part_of, refusal


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "README").write_text("hello")
    return tmp_path


def commands(folder: Path, **options: str) -> dict[str, tuple[str, ...]]:
    return {phase.name: phase.commands for phase in part_of(Recipe, folder, path="src", **options).phases}


def test_a_build_is_configure_make_and_make_install(source: Path) -> None:
    assert commands(source, prefix="/opt/x y") == {
        "configure": ("./configure --prefix='/opt/x y'",),
        "make": ('make -j"$JOBS"',),
        "install": ('make DESTDIR="$DESTDIR" install',),
    }


@pytest.mark.parametrize(
    ("options", "phase", "expected"),
    [
        ({"configure_command": ""}, "configure", ()),
        ({"configure_command": "true"}, "configure", ()),
        ({"configure_options": "--a\n--b='c d'", "configure_command": "./c"}, "configure", ("./c --a --b='c d'",)),
        ({"make_options": "V=1", "make_targets": "all doc"}, "make", ('make -j"$JOBS" V=1 all doc',)),
        ({"install_targets": "install-bin"}, "install", ('make DESTDIR="$DESTDIR" install-bin',)),
        ({"install_command": "ninja install", "post_install": "a\nb"}, "install", ("ninja install", "a", "b")),
        ({"pre_make": "echo $${JOBS} @@LOCATION@@", "make_command": ""}, "make", ("echo ${JOBS} /opt/it",)),
    ],
)
def test_each_step_can_be_changed(options: dict[str, str], phase: str, expected: tuple[str, ...], source: Path) -> None:
    assert commands(source, prefix="/opt/it", **options)[phase] == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give exactly one of them"),
        ({"path": "src", "url": "http://x/y"}, "not url and path"),
        ({"path": "nowhere"}, "does not exist"),
        ({"path": "src", "patches": "a.patch"}, "a.patch, which is not a file"),
        ({"path": "src", "prefix": "opt"}, "an absolute path"),
        ({"url": "http://x/y"}, "option sha256 is missing"),
        ({"debian_source": "redis"}, "option version is missing"),
        ({"debian_source": "../x", "version": "1", "sha256": "0" * 64}, "name of a Debian source package"),
    ],
)
def test_wrong_options_are_told(options: dict[str, str], words: str, source: Path) -> None:
    assert words in refusal(Recipe, source, **options)


def test_a_changed_patch_is_a_reason_to_build_anew(source: Path) -> None:
    patch = source / "a.patch"
    digests = set()
    for text in ("one", "two"):
        patch.write_text(text)
        digests.add(part_of(Recipe, source, path="src", patches="a.patch").options["patches-sha256"])
    assert len(digests) == 2


def test_missing_programs_are_told_with_their_debian_packages(source: Path) -> None:
    said = failure(part_of(Recipe, source, path="src", programs="pkg-config", environment="PATH = /nowhere"))
    assert "lacks pkg-config, cc, make" in said
    assert "apt-get install pkgconf gcc make libc6-dev" in said


def test_the_environment_of_a_build_is_what_was_given_and_nothing_of_ours(source: Path) -> None:
    part = part_of(Recipe, source, path="src", environment="CFLAGS = -O1 -I@@LOCATION@@/x\nPATH = /tool:$PATH")
    runner = ScriptedRunner(lambda argv: 0)
    part.runner = runner
    failure(part)
    env = runner.commands[0].env or {}
    assert env["CFLAGS"] == f"-O1 -I{part.location}/x"
    assert env["PATH"].startswith("/tool:/usr/local/sbin:")
    assert env["STAGE"] == env["DESTDIR"] + str(part.location)
    assert "PYTEST_CURRENT_TEST" not in env


def test_a_makefile_without_destdir_is_told_how_to_go_on(source: Path) -> None:
    part = part_of(Recipe, source, path="src")
    part.runner = ScriptedRunner(lambda argv: 0)
    assert 'install-options = PREFIX="$STAGE"' in failure(part)


def test_a_failing_step_is_told_with_the_end_of_its_log(source: Path) -> None:
    part = part_of(Recipe, source, path="src")

    def answer(argv: Sequence[str]) -> int:
        part.log.write_text("many lines\nboom.c: no such header\n")
        return 2 if argv[-1].endswith("make.sh") else 0

    part.runner = ScriptedRunner(answer)
    said = failure(part)
    assert "make ended with status 2" in said and "boom.c: no such header" in said and str(part.log) in said


SHOWN = """Package: tool
Version: 5:7.0.15-1~deb12u7
Files:
 aa 1 tool_7.0.15.orig.tar.gz
Checksums-Sha256:
 01 10 tool_7.0.15-1~deb12u7.dsc
 02 20 tool_7.0.15.orig.tar.gz
 03 30 tool_7.0.15-1~deb12u7.debian.tar.xz
Package-List:

Package: tool
Version: 5:7.0.15-1~deb12u10
Checksums-Sha256:
 02 20 tool_7.0.15.orig.tar.gz
"""


def debian(version: str, sha256: str = "02") -> SourcePackage:
    return DebianSource("tool", version, sha256, patched=False).choose(parse_sources("tool", SHOWN))


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("7.0.15", "5:7.0.15-1~deb12u10"), ("5:7.0.15-1~deb12u7", "5:7.0.15-1~deb12u7")],
)
def test_an_upstream_version_means_debians_newest_of_it(wanted: str, chosen: str) -> None:
    assert debian(wanted).version == chosen


@pytest.mark.parametrize(
    ("version", "sha256", "words"),
    [("7.0.16", "02", "It has: 5:7.0.15-1~deb12u7, 5:7.0.15-1~deb12u10"), ("7.0.15", "ff", "actual:   02")],
)
def test_another_source_than_expected_is_told(version: str, sha256: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        debian(version, sha256)
    assert words in str(caught.value)


def test_versions_are_ordered_as_debian_does() -> None:
    ordered = [
        "1.0~rc1-1",
        "1.0-1~deb12u2",
        "1.0-1~deb12u10",
        "1.0-1",
        "1.0-1+b1",
        "1.0a-1",
        "1.0+x-1",
        "1.2-1",
        "1.10-1",
        "1:0.1",
    ]
    assert sorted(sorted(ordered), key=version_key) == ordered
