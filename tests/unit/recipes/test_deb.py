"""Debian packages: sources, resolving, locks and starters, without apt."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from slap.model.errors import CommandFailed
from slap.recipes.deb import Recipe, interpreter, library_folders, wrapper
from slap.system.debian import Kind, configuration, machine_sources, merged, of_kind, parse_uris
from tests.unit.recipes.parts import ScriptedRunner, failure, part_of, refusal
from tests.unit.recipes.test_archive import SYMLINK, deb_of, member

LIST = "# ours\ndeb [signed-by=/k.gpg] mirror stable main\ndeb-src mirror stable main\nnonsense\n"
STANZAS = "# ours\nTypes: deb deb-src\nURIs: mirror\n# why\nSuites: stable\n\nTypes: deb\nURIs: other\nSuites: x\n"


@pytest.mark.parametrize(
    ("suffix", "text", "kind", "expected"),
    [
        (".list", "deb-src mirror stable main\n", Kind.BINARY, "deb mirror stable main\n"),
        (".list", "deb m s\ndeb-src m s\n", Kind.SOURCE, "deb-src m s\n"),
        (".list", LIST, Kind.BINARY, "deb [signed-by=/k.gpg] mirror stable main\ndeb mirror stable main\n"),
        (
            ".sources",
            STANZAS,
            Kind.SOURCE,
            "Types: deb-src\nURIs: mirror\nSuites: stable\n\nTypes: deb-src\nURIs: other\nSuites: x\n",
        ),
        (".disabled", LIST, Kind.BINARY, ""),
    ],
)
def test_the_machines_sources_are_read_as_of_one_kind(suffix: str, text: str, kind: Kind, expected: str) -> None:
    assert of_kind(suffix, text, kind) == expected


def test_only_sources_that_say_something_are_taken(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("# moved\n")
    (tmp_path / "sources.list.d" / "a.sources").write_text(STANZAS)
    assert list(machine_sources(tmp_path, Kind.BINARY)) == ["a.sources"]


def test_apt_gets_places_of_its_own_and_runs_no_hooks(tmp_path: Path) -> None:
    text = configuration(tmp_path)
    for line in (f'Dir::State "{tmp_path}/state";', "#clear APT::Update::Post-Invoke;", 'Acquire::ForceHash "SHA256";'):
        assert line in text.splitlines()


def test_a_package_without_a_digest_is_refused() -> None:
    assert parse_uris(f"'x' liba_1%3a2-1_amd64.deb 5 SHA256:{'0' * 64}\n")[0].pin == "liba=1:2-1"
    with pytest.raises(CommandFailed, match="no SHA-256"):
        parse_uris("'x' liba_2_amd64.deb 5 MD5Sum:00\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "option packages is missing"),
        ({"packages": "Socat"}, "'Socat', which is no name of a package"),
        ({"packages": "-o=x"}, "'-o=x'"),
        ({"packages": "a1", "lock": "a1 1.2"}, "write name=version"),
    ],
)
def test_wrong_options_are_told(options: dict[str, str], words: str, tmp_path: Path) -> None:
    assert words in refusal(Recipe, tmp_path, **options)


class Archive:
    """What apt would say and do: a tool that needs a library, on a Debian that has libc6 everywhere."""

    def __init__(self, folder: Path) -> None:
        tool = member("./usr/bin/tool", content=b"\x7fELF", mode=0o755)
        self.debs = {
            "tool": deb_of(folder / "tool_1_all.deb", tool, member("./lib/l", SYMLINK, "/usr/lib/libx.so.1")),
            "libx": deb_of(folder / "libx_2_all.deb", member("./usr/lib/libx.so.1", content=b"x")),
            "libc6": deb_of(folder / "libc6_3_all.deb"),
        }

    def __call__(self, argv: Sequence[str]) -> str | int:
        if "download" in argv:
            return 0
        names = ["libc6"] if "?essential" in argv else list(self.debs)
        return "".join(self._line(name) for name in names if "install" in argv)

    def _line(self, name: str) -> str:
        path = self.debs[name]
        return f"'x' {path.name} 1 SHA256:{sha256(path.read_bytes()).hexdigest()}\n"

    def keep_in(self, cache: Path) -> None:
        cache.mkdir(parents=True)
        for path in self.debs.values():
            (cache / sha256(path.read_bytes()).hexdigest()).write_bytes(path.read_bytes())


def deb_part(folder: Path, cached: bool = True, **options: str) -> Recipe:
    archive = Archive(folder)
    part = part_of(Recipe, folder, packages="tool", **options)
    part.runner = ScriptedRunner(archive)
    if cached:
        archive.keep_in(part.downloads)
    return part


def test_packages_are_unpacked_with_what_they_need_but_not_what_is_everywhere(tmp_path: Path) -> None:
    part = deb_part(tmp_path)
    part.install()
    assert (part.location / "debian.lock").read_text() == "tool=1\nlibx=2\n"
    assert (part.location / "usr/lib/l").resolve() == part.location / "usr/lib/libx.so.1"
    starter = (part.location / "bin/tool").read_text()
    assert f"export LD_LIBRARY_PATH={part.location}/usr/lib${{" in starter
    assert f'exec {part.location}/usr/bin/tool "$@"' in starter


@pytest.mark.parametrize(("lock", "lacks"), [("tool=1", "libx=2"), ("libx=2", "tool=1"), ("tool=1\nlibx=1", "libx=2")])
def test_an_incomplete_lock_is_told_with_the_whole_one(lock: str, lacks: str, tmp_path: Path) -> None:
    said = failure(deb_part(tmp_path, lock=lock))
    assert f"It lacks {lacks}." in said
    assert said.endswith("lock =\n    tool=1\n    libx=2")


def test_what_is_excluded_is_left_out(tmp_path: Path) -> None:
    part = deb_part(tmp_path, excludes="libx")
    part.install()
    assert (part.location / "debian.lock").read_text() == "tool=1\n"
    assert "LD_LIBRARY_PATH" not in (part.location / "bin/tool").read_text()


def test_a_package_may_be_taken_alone(tmp_path: Path) -> None:
    part = deb_part(tmp_path, dependencies="false", lock="tool=1")
    part.install()
    assert (part.location / "debian.lock").read_text() == "tool=1\n"


def test_what_apt_did_not_bring_as_its_index_says_is_refused(tmp_path: Path) -> None:
    assert "did not download tool_1_all.deb as its index has it" in failure(deb_part(tmp_path, cached=False))


@pytest.mark.parametrize(
    ("packaged", "placed"),
    [("bin/x", "usr/bin/x"), ("lib64", "usr/lib64"), ("library/x", "library/x"), ("etc/x", "etc/x"), (".", ".")],
)
def test_packages_from_before_merged_usr_fit_in(packaged: str, placed: str) -> None:
    assert merged(packaged) == placed


def test_libraries_are_found_where_packages_tell_the_loader_of_them(tmp_path: Path) -> None:
    for name in ("usr/lib/x86_64-linux-gnu/liba.so.1", "usr/lib/special/libb.so", "etc/ld.so.conf.d/x.conf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("/usr/lib/special\n")
    found = [str(path.relative_to(tmp_path)) for path in library_folders(tmp_path)]
    assert found == ["usr/lib/special", "usr/lib/x86_64-linux-gnu"]


@pytest.mark.parametrize(
    ("first_line", "starter"),
    [("#!/usr/bin/perl -w", "/final/bin/perl"), ("#!/bin/sh", None), ("#!/usr/bin/env perl", None), ("\x7fELF", None)],
)
def test_scripts_run_by_the_parts_own_interpreter(first_line: str, starter: str | None, tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    for name in ("perl", "env"):
        (tmp_path / "usr/bin" / name).write_text("")
        (tmp_path / "usr/bin" / name).chmod(0o755)
    (tmp_path / "script").write_text(first_line + "\n")
    found = interpreter(tmp_path / "script", tmp_path, Path("/final"))
    assert found == (Path(starter) if starter else None)


def test_a_starter_quotes_what_it_runs() -> None:
    assert wrapper(Path("/a b/tool"), None, {"X": "'c d'"}).splitlines()[2:] == [
        "export X='c d'",
        "exec '/a b/tool' \"$@\"",
    ]
