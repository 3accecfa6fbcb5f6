"""Programs of a build exchange names in their folders while root works there: what is root's stays as it is.

Each thing that root does is done again and again. Each time one name is exchanged a step later, just before root's next
system call, until all steps had their turn: there is no luck in it. A short real race follows.
"""

import ctypes
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slap.cache.archive.errors import CannotPack
from slap.cache.archive.member import Place
from slap.cache.archive.tree import Tree
from slap.cache.provenance.release import read_materials
from slap.model.errors import SlapError
from slap.node.buildout.job import BuildResult, Outcome
from slap.node.core.accounts import Account, software_account
from slap.node.core.config import FormatConfig, NodeConfig
from slap.node.core.marker import MARKER, Marker, compute_fingerprint, read_marker
from slap.node.core.report import Reporter
from slap.node.core.store import Store
from slap.node.partition.profile import find_template
from slap.node.software.download import own_tree, put_in_place
from slap.node.software.part_server import parts_of
from slap.node.software.reconciler import SoftwareReconciler, remove_slapos_build
from slap.system import environment, files
from slap.system.clock import FakeClock
from slap.system.trust.folders import read_below
from tests.interpreter import PYTHON
from tests.system.cloud import short_folder
from tests.unit.node.things import URL, Ear, FakeBuilder, a_config, a_supply, wants

BUILDER = pwd.getpwnam("nobody")
ACCOUNT = Account("nobody", BUILDER.pw_uid, BUILDER.pw_gid, BUILDER.pw_gid)
SECRET = "for root's eyes only"
# What Python announces before it calls the system; only files and folders count.
CALLS = frozenset(
    {"open", "os.chmod", "os.chown", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir"}
)


@dataclass
class Land:
    """What is root's alone in `treasure`, a folder of the builder, and one of root's in which nobody else writes."""

    root: Path

    @property
    def treasure(self) -> Path:
        return self.root / "treasure"

    @property
    def mine(self) -> Path:
        return self.root / "mine"

    @property
    def release(self) -> Path:
        return self.mine / "release"

    @property
    def staged(self) -> Path:
        return self.root / "staged"

    def lay_out(self) -> None:
        for folder in (self.treasure, self.mine, self.staged):
            files.remove_tree(folder)
        for top, text, private in (
            (self.treasure, SECRET, 0o700),
            (self.release, "own", 0o755),
            (self.staged, "x", 0o755),
        ):
            (top / "d/e").mkdir(parents=True)
            for name in ("d/f", "d/e/g", MARKER, "instance.cfg", "instance-default.cfg"):
                (top / name).write_text(text)
                (top / name).chmod(private & 0o666)
            top.chmod(private)
        for link, target in ((self.mine / "to-top", self.treasure), (self.release / "to-d", self.treasure / "d")):
            link.symlink_to(target)
        for name in ("e", "f"):
            (self.release / f"d/to-{name}").symlink_to(self.treasure / "d" / name)
        (self.release / "d/hard").hardlink_to(self.treasure / "d/f")
        for place in (self.mine, *self.mine.rglob("*")):
            if place.name != "hard":
                os.chown(place, *(ACCOUNT.owner or ()), follow_symlinks=False)

    def seen(self) -> dict[str, tuple[Any, ...]]:
        """All of the treasure."""
        return {str(path): _about(path) for path in (self.treasure, *sorted(self.treasure.rglob("*")))}


def _about(path: Path) -> tuple[Any, ...]:
    seen = path.lstat()
    return seen.st_mode, seen.st_uid, seen.st_gid, path.read_text() if path.is_file() else sorted(os.listdir(path))


def exchange(one: Path, other: Path) -> None:
    """Both names at once, as renameat2(2) does it."""
    if ctypes.CDLL(None).renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2):
        raise OSError(one)


@dataclass
class Exchanger:
    """Exchanges two names just before the call of this number; `calls` counts them."""

    one: Path
    other: Path
    at: int
    calls: int = 0

    def hear(self) -> None:
        self.calls += 1
        if self.calls == self.at and os.path.lexists(self.one) and os.path.lexists(self.other):
            exchange(self.one, self.other)


@dataclass
class Hook:
    """What listens to the calls of this process; it cannot be taken out again, so it is at rest most of the time."""

    listener: Exchanger | None = None

    def __call__(self, event: str, args: object) -> None:
        if self.listener and event in CALLS:
            listener, self.listener = self.listener, None
            try:
                listener.hear()
            finally:
                self.listener = listener


@contextmanager
def listening(hook: Hook, exchanger: Exchanger) -> Iterator[None]:
    hook.listener = exchanger
    try:
        yield
    finally:
        hook.listener = None


def _pack(land: Land) -> object:
    place = Place(str(land.release), str(land.mine))
    return b"".join(
        map(bytes, Tree(str(land.release), place, frozenset({"to-d", "d/to-e", "d/to-f", "d/hard"})).stream())
    )


# What root does in folders of a builder, from what it gets to know.
DEEDS: dict[str, Callable[[Land], object]] = {
    "make": lambda land: files.make_folder(land.release / "d"),
    "make and give": lambda land: files.make_folder(land.release / "d/e", 0o711, (1, 1)),
    "make new": lambda land: files.make_folder(land.release / "d/new/er", 0o755, ACCOUNT.owner),
    "own": lambda land: own_tree(land.release, ACCOUNT),
    "pack": _pack,
    "remove": lambda land: files.remove_tree(land.release),
    "remove inner": lambda land: files.remove_tree(land.release / "d/e"),
    "clear": lambda land: remove_slapos_build(land.release),
    "put in place": lambda land: put_in_place(land.staged, land.release / "d/e"),
    "read": lambda land: read_below(land.release, "d/f"),
    "marker": lambda land: read_marker(land.release),
    "materials": lambda land: read_materials(land.release),
    "parts": lambda land: parts_of(land.release, land.mine),
    "template": lambda land: find_template(land.release, "default"),
}
# Which two names of the release are exchanged.
SWAPS = {
    "the release with a link": ("", "../to-top"),
    "a folder with a link": ("d", "to-d"),
    "an inner folder with a link": ("d/e", "d/to-e"),
    "a file with a link": ("d/f", "d/to-f"),
    "a file with a hard link": ("d/f", "d/hard"),
}


def _deep(folder: Path) -> Path:
    """So many folders in each other that no path can name the last one."""
    place = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("deep", dir_fd=place)
        place, above = os.open("deep", os.O_RDONLY, dir_fd=place), place
        os.close(above)
    os.close(place)
    return folder


def _is_gone(folder: Path) -> None:
    files.remove_tree(folder)
    assert not os.path.lexists(folder)


def _refused(kind: type[Exception], deed: Callable[[], object]) -> None:
    with pytest.raises(kind):
        deed()


def _foreign(folder: Path) -> Path:
    """A folder of a third one in the folder of the builder."""
    os.chown(folder, 1, 1)
    return folder.parent


def _hard(land: Land) -> Land:
    (land.release / "hard").hardlink_to(land.treasure / "d/f")
    return land


def _pipe(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def _link(path: Path, target: str | Path) -> Path:
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    os.chown(path, *(ACCOUNT.owner or ()), follow_symlinks=False)
    return path


def _installed(land: Land, name: str) -> Path:
    (land.release / ".installed.cfg").write_text(f"[buildout]\nparts = {name}\n[{name}]\nrepository = http://a/b\n")
    return land.release


# What a builder leaves for root to find, and what root makes of it.
PLANTS: dict[str, Callable[[Land], None]] = {
    "a pipe for a marker": lambda land: _is_none(read_marker(_pipe(land.release / MARKER).parent)),
    "a device for a marker": lambda land: _is_none(read_marker(_link(land.release / MARKER, "/dev/zero").parent)),
    "a folder for a marker": lambda land: _is_none(read_marker(land.release / "d")),
    "a pipe for a profile": lambda land: remove_slapos_build(_pipe(land.release / "buildout.cfg").parent),
    "a pipe for a record": lambda land: _is_none(parts_of(_pipe(land.release / ".installed.cfg").parent, land.mine)),
    "a pipe for a template": lambda land: _is_there(
        find_template(_pipe(land.release / "instance.cfg").parent, "default")
    ),
    "a pipe to tell it from others": lambda land: _refused(
        OSError, lambda: compute_fingerprint(_pipe(land.release / "instance.cfg").parent)
    ),
    "a pipe for a text": lambda land: _refused(OSError, lambda: files.read_or(_pipe(land.mine / "p"), "")),
    "a device for a text": lambda land: _refused(
        OSError, lambda: files.read_or(_link(land.mine / "z", "/dev/zero"), "")
    ),
    "a pipe for a log": lambda land: _refused(OSError, lambda: files.tail(_pipe(land.mine / "p"), 5)),
    "a pipe to pack": lambda land: _refused(CannotPack, lambda: (_pipe(land.release / "d/pipe"), _pack(land))),
    "a hard link to pack": lambda land: _refused(CannotPack, lambda: _pack(_hard(land))),
    "a hard link to read": lambda land: _is_none(read_below(land.release, "d/hard")),
    "a hard link to own": lambda land: own_tree(land.release, ACCOUNT),
    "a folder of root's own": lambda land: _refused(
        PermissionError, lambda: own_tree(_foreign(land.release / "d"), ACCOUNT)
    ),
    "a part that is above": lambda land: _is_none(
        read_materials(_installed(land, "../../../treasure")),
    ),
    "a name with a zero byte": lambda land: _is_none(read_below(land.release, "a\0b")),
    "a name of all the computer": lambda land: _is_none(read_below(land.release, land.treasure / "d/f")),
    "a link for a folder": lambda land: files.make_folder(_link(land.mine / "new", land.treasure)),
    "a link above a folder": lambda land: _refused(
        NotADirectoryError, lambda: files.make_folder(land.mine / "to-top/new", owner=ACCOUNT.owner)
    ),
    "a link above what is removed": lambda land: _refused(
        NotADirectoryError, lambda: files.remove_tree(land.mine / "to-top/d")
    ),
    "a link where a shared part goes": lambda land: _refused(
        NotADirectoryError, lambda: put_in_place(land.staged, land.mine / "to-top/d")
    ),
    "a link to what is removed": lambda land: _is_gone(land.mine / "to-top"),
    "folders without end": lambda land: _is_gone(_deep(land.release)),
}


def _is_none(found: object) -> None:
    assert not found


def _is_there(found: object) -> None:
    assert found


if environment.is_root():

    @pytest.fixture(scope="module")
    def hook() -> Hook:
        made = Hook()
        sys.addaudithook(made)
        return made

    @pytest.fixture(scope="module")
    def land() -> Iterator[Land]:
        with short_folder() as folder:
            folder.chmod(0o755)
            yield Land(folder)

    @pytest.mark.parametrize("swap", SWAPS)
    @pytest.mark.parametrize("deed", DEEDS)
    def test_what_is_exchanged_before_any_call_leads_root_nowhere(hook: Hook, land: Land, deed: str, swap: str) -> None:
        one, other = SWAPS[swap]
        for at in range(1, 1000):
            land.lay_out()
            before, exchanger = land.seen(), Exchanger(land.release / one, land.release / other, at)
            told: object = None
            with suppress(OSError, SlapError), listening(hook, exchanger):
                told = DEEDS[deed](land)
            assert land.seen() == before, f"changed before call {at}"
            assert SECRET not in str(told), f"told before call {at}"
            if exchanger.calls < at:
                break
        assert 1 < at < 999

    RACE = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
print(flush=True)
while True:
    for one, other in zip(sys.argv[1::2], sys.argv[2::2]):
        libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)
"""

    @contextmanager
    def racing(land: Land) -> Iterator[None]:
        """A program of the builder that exchanges all of that without a pause."""
        names = [str(land.release / name) for pair in SWAPS.values() for name in pair]
        argv = [PYTHON, "-I", "-S", "-c", RACE, *names]
        who = {"user": BUILDER.pw_uid, "group": BUILDER.pw_gid}
        with subprocess.Popen(argv, extra_groups=[], cwd="/", stdout=subprocess.PIPE, **who) as racer:  # type: ignore[call-overload]
            racer.stdout.readline()
            try:
                yield
            finally:
                racer.kill()

    @pytest.mark.parametrize("deed", DEEDS)
    def test_a_race_is_lost_by_the_builder(land: Land, deed: str) -> None:
        land.lay_out()
        before = land.seen()
        with racing(land):
            for _ in range(60):
                told: object = None
                with suppress(OSError, SlapError):
                    told = DEEDS[deed](land)
                assert SECRET not in str(told)
        assert land.seen() == before

    @pytest.mark.parametrize("plant", PLANTS)
    def test_what_a_builder_leaves_is_not_followed_nor_waited_for(land: Land, plant: str) -> None:
        land.lay_out()
        before = land.seen()
        PLANTS[plant](land)
        assert land.seen() == before

    def test_a_link_that_root_made_is_followed(land: Land) -> None:
        """Operators move a large folder to another disk, and leave a link."""
        land.lay_out()
        (land.root / "moved").unlink(missing_ok=True)
        (land.root / "moved").symlink_to(land.staged)
        files.make_folder(land.root / "moved/shared", owner=ACCOUNT.owner)
        assert (land.staged / "shared").stat().st_uid == BUILDER.pw_uid
        assert read_below(land.root / "moved", "d/f") == "x"

    def as_builder(*argv: str) -> int:
        return subprocess.run(
            argv, user=BUILDER.pw_uid, group=BUILDER.pw_gid, extra_groups=[], cwd="/", stderr=subprocess.DEVNULL
        ).returncode

    @dataclass
    class Before:
        """A node as former versions, and SlapOS, have it: the software root belongs to who builds."""

        config: NodeConfig
        store: Store
        reconciler: SoftwareReconciler
        builder: FakeBuilder

        @property
        def release(self) -> Path:
            return self.config.software(URL)

    @pytest.fixture
    def before(land: Land) -> Iterator[Before]:
        folder = land.root / "node"
        files.remove_tree(folder)
        config = a_config(folder, format=FormatConfig(alter_user=True, software_user=BUILDER.pw_name))
        store, builder = (
            Store(config.store_file),
            FakeBuilder([BuildResult(id=0, outcome=Outcome.DONE, fingerprint="f")]),
        )
        reporter = Reporter("COMP-1", Ear().master, store, lambda name: None)
        account = software_account(config)
        reconciler = SoftwareReconciler(config, store, builder, FakeClock(), account, reporter)
        wants(store, a_supply())
        yield Before(config, store, reconciler, builder)
        store.close()

    def _as_it_was(node: Before) -> None:
        for place in (node.release, node.config.shared_parts / "openssl/0123", node.config.download_cache):
            place.mkdir(parents=True)
        (node.release / MARKER).write_text(Marker(url=URL, fingerprint="f").model_dump_json())
        for path in (node.config.software_root, *node.config.software_root.rglob("*")):
            os.chown(path, BUILDER.pw_uid, BUILDER.pw_gid)

    def test_a_node_of_before_is_roots_when_it_starts_and_nothing_is_built_again(before: Before) -> None:
        _as_it_was(before)
        before.config.make_folders()
        before.reconciler.once(URL)
        assert before.builder.jobs == []
        root = before.config.software_root.stat()
        assert (root.st_uid, root.st_gid, root.st_mode & 0o7777) == (0, 0, 0o755)
        assert as_builder("mv", str(before.release), f"{before.release}.away") != 0
        for place in (before.release, before.config.shared_parts, before.config.download_cache):
            assert as_builder("touch", str(place / "written")) == 0

    def test_a_build_has_a_folder_of_its_own_in_roots(before: Before) -> None:
        _link(before.release, before.config.root)
        os.chown(before.config.software_root, BUILDER.pw_uid, BUILDER.pw_gid)  # by a command of SlapOS's
        before.reconciler.once(URL)
        assert len(before.builder.jobs) == 1
        assert before.config.software_root.stat().st_uid == before.config.root.stat().st_uid == 0
        assert not before.release.is_symlink()
        for place in (before.release, before.config.shared_parts, before.config.download_cache):
            assert place.stat().st_uid == BUILDER.pw_uid
