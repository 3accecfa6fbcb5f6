"""Caches on the node: builds come from there, or else are made here and say why; uploads wait for their time."""

import hashlib
import os
import socket
import time
from pathlib import Path

import pytest

from slap.cache.client.client import install_place
from slap.cache.client.publish import BuildOutput, publish
from slap.cache.trust.keys import generate_key, load_key
from slap.cache.trust.store import TrustedKey
from slap.model.cache import EntryKind
from slap.node.buildout.job import BuildJob, BuildResult, Outcome
from slap.node.cache import messages
from slap.node.cache.tools import CacheTools
from slap.node.cache.upload_queue import CacheStore, Upload
from slap.node.core.accounts import Account
from slap.node.core.marker import MARKER, compute_fingerprint, read_fingerprint, read_marker
from slap.node.core.report import Reporter
from slap.node.core.store import Store
from slap.node.software.cached_releases import ASK, NodeCache, make_node_cache
from slap.node.software.download import own_tree
from slap.node.software.reconciler import FORCED, SoftwareReconciler
from slap.system import environment
from slap.system.clock import FakeClock
from slap.system.files import remove_tree
from tests.unit.cache.crooked import CrookedCache
from tests.unit.node.things import URL, Ear, FakeBuilder, a_config, a_supply, wants

DONE = BuildResult(id=0, outcome=Outcome.DONE, fingerprint="f")


class Builds(FakeBuilder):
    """Leaves a release in the folder, as buildout does."""

    def build(self, job: BuildJob) -> BuildResult:
        folder = Path(job.folder)
        (folder / "instance.cfg").write_text("[buildout]\nparts =\n")
        (folder / ".installed.cfg").write_text("[buildout]\n")
        return super().build(job).model_copy(update={"fingerprint": compute_fingerprint(folder)})


class World:
    """A node with a cache that it takes from and uploads to."""

    def __init__(self, folder: Path, shop: CrookedCache, **options: str) -> None:
        section = {"cache-url": shop.url, "upload-url": shop.url} | options
        self.config = a_config(folder, networkcache=section)
        self.clock, self.ear, self.builder = FakeClock(time.time()), Ear(), Builds([DONE])
        self.store = Store(self.config.store_file)
        self.reporter = Reporter("COMP-1", self.ear.master, self.store, lambda name: None)
        self.tools = CacheTools(self.config, self.clock)
        self.cache: NodeCache = make_node_cache(self.tools, Account(), read_fingerprint, MARKER)
        self.reconciler = SoftwareReconciler(
            self.config, self.store, self.builder, self.clock, Account(), self.reporter
        )
        self.reconciler.cache = self.cache
        settings = self.tools.settings
        assert settings.key_file
        if not settings.key_file.exists():
            generate_key(settings.key_file, "builder")
        self.tools.trust.trust(TrustedKey(load_key(settings.key_file).public))
        wants(self.store, a_supply())

    def once(self) -> str:
        """Make a pass; what was told of the release in the end."""
        self.reconciler.once(URL)
        self.reporter.flush()
        return self.ear.reports[-1].supplies[0].message

    def publish(self) -> None:
        """Build it, upload it, and forget that it was ever here."""
        self.once()
        assert self.cache.uploads.once() == 0.0
        self.forget()

    def forget(self) -> None:
        folder = self.folder
        for path in sorted(folder.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        folder.rmdir()
        self.store.forget_supply(URL)
        wants(self.store, a_supply(revision=2), revision=2)
        self.builder.jobs.clear()
        self.clock.sleep(5)

    @property
    def folder(self) -> Path:
        return self.config.software(URL)

    @property
    def left(self) -> set[str]:
        """What lies in the software root, but for the node's own folders."""
        return {path.name for path in self.config.software_root.iterdir()} - {".download-cache", "shared"}


@pytest.fixture
def world(tmp_path: Path, shop: CrookedCache) -> World:
    return World(tmp_path, shop)


def test_what_was_uploaded_is_taken_instead_of_built(world: World) -> None:
    world.publish()
    message = world.once()
    assert message.startswith("from cache, signed by builder (")
    assert not world.builder.jobs and world.left == {world.folder.name}
    marker = read_marker(world.folder)
    assert marker and marker.fingerprint == compute_fingerprint(world.folder)
    assert world.once() == message  # a later pass says it still


def test_what_comes_from_a_cache_is_not_uploaded_again(world: World) -> None:
    world.publish()
    world.tools.store.forget(EntryKind.RELEASE, URL)
    world.once()
    assert world.tools.store.uploads() == ()


def test_nothing_in_the_cache_is_nothing_to_speak_of(world: World) -> None:
    assert world.once() == ""
    assert len(world.builder.jobs) == 1


@pytest.mark.parametrize("fault", ["flip", "lose", "fail", "impostor", "truncate", "babble", "hang"])
def test_a_bad_cache_stops_no_build_says_why_and_is_left_alone(world: World, shop: CrookedCache, fault: str) -> None:
    world.publish()
    for path in world.config.chunks.glob("*/*"):
        path.unlink()
    shop.fault, shop.at = fault, "/api/v1/blobs" if fault == "lose" else "/"
    started = time.monotonic()
    message = world.once()
    assert time.monotonic() - started < 5
    assert message.startswith("built from source: ") and shop.url in message
    assert len(world.builder.jobs) == 1 and world.left == {world.folder.name}
    asked = len(shop.asked)
    world.forget()
    assert "left alone" in world.once() and len(shop.asked) == asked
    world.forget()
    shop.fault = ""
    world.clock.sleep(61)
    assert world.once().startswith("from cache")


def test_where_chunks_cannot_be_kept_builds_are_uploaded_and_taken_all_the_same(world: World) -> None:
    (world.config.chunks / "index.sqlite").mkdir(parents=True)
    world.publish()
    assert world.once().startswith("from cache")
    assert not world.builder.jobs


def test_what_is_left_of_one_that_was_killed_is_no_hindrance(world: World) -> None:
    world.publish()
    for name in (f".from-cache-{world.folder.name}", f".former-{world.folder.name}", world.folder.name):
        (world.config.software_root / name / "deep").mkdir(parents=True)
        (world.config.software_root / name / "deep/half").write_text("half")
    assert world.once().startswith("from cache")
    assert world.left == {world.folder.name} and not (world.folder / "deep").exists()


def test_who_forces_a_build_gets_one(world: World) -> None:
    world.publish()
    world.once()
    record = world.store.software_record(URL)
    assert record
    world.store.save_software(record.model_copy(update={"revision": FORCED}))
    (world.folder / MARKER).unlink()
    world.once()
    assert len(world.builder.jobs) == 1


def test_what_may_only_come_from_a_cache_is_never_built(tmp_path: Path, shop: CrookedCache) -> None:
    options = {"download-from-binary-cache-force-url-list": "http://example.com/"}
    world = World(tmp_path, shop, **options)
    assert "only come from a cache" in world.once()
    assert (world.ear.states[-1], world.builder.jobs) == ("error", [])


def test_what_a_cache_has_without_an_instance_profile_is_not_taken(world: World, shop: CrookedCache) -> None:
    world.folder.mkdir()
    (world.folder / "readme").write_text("nothing to run")
    cache_key = world.tools.cache_key(URL)
    built = BuildOutput(world.folder, cache_key, "COMP-2", 1, 2)
    key = world.tools.signing_key()
    publish(built, key, world.tools.client, world.tools.chunk_store, lambda size: None)
    assert "no instance profile" in world.once()
    assert len(world.builder.jobs) == 1 and install_place(cache_key).path == str(world.folder)
    assert world.left == {world.folder.name}


def test_a_folder_of_this_machine_is_neither_looked_for_nor_uploaded(world: World, shop: CrookedCache) -> None:
    wants(world.store, a_supply(url="/home/me/software.cfg", revision=3), revision=3)
    world.reconciler.once("/home/me/software.cfg")
    assert not shop.asked and world.tools.store.uploads() == ()


def test_an_upload_waits_longer_with_each_failure_and_is_not_lost(world: World, shop: CrookedCache) -> None:
    world.once()
    shop.fault, shop.at = "fail", "/"
    waits = []
    for _ in range(3):
        assert world.cache.uploads.once() == 0.0
        upload = world.tools.store.next_upload()
        assert upload and upload.why
        waits.append(upload.due - world.tools.now)
        assert not world.cache.uploads.is_due()
        world.clock.sleep(waits[-1])
    assert waits == sorted(waits) and waits[0] < waits[-1]
    store = CacheStore(world.config.cache_file)  # as after a restart
    assert [each.failures for each in store.uploads()] == [3]


def test_what_is_gone_before_it_was_uploaded_is_forgotten(world: World) -> None:
    world.once()
    (world.folder / MARKER).unlink()
    world.cache.uploads.once()
    assert world.tools.store.uploads() == ()


def test_what_is_still_here_is_signed_anew_in_time(world: World, shop: CrookedCache) -> None:
    world.once()
    world.cache.uploads.once()
    (first,) = (len(entries) for entries in shop.entries.values())
    world.clock.sleep(46 * 86400)
    assert world.cache.uploads.once() == 0.0
    (second,) = (len(entries) for entries in shop.entries.values())
    assert (first, second) == (1, 2)


def test_without_a_key_nothing_is_queued(tmp_path: Path, shop: CrookedCache) -> None:
    world = World(tmp_path, shop)
    assert world.tools.settings.key_file
    world.tools.settings.key_file.unlink()
    world.once()
    assert world.tools.store.uploads() == ()


def test_one_uploader_works_at_a_time(world: World, tmp_path: Path) -> None:
    store = world.tools.store
    store.queue(Upload(EntryKind.RELEASE, "a", "/a", 1, 2, due=5.0))
    store.queue(Upload(EntryKind.RELEASE, "b", "/b", 1, 2, due=1.0))
    upload = store.next_upload()
    assert upload and upload.key == "b"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (42 << 20, "42 MiB"), (3 << 30, "3.0 GiB")]
)
def test_sizes_in_words(count: int, text: str) -> None:
    assert messages.size(count) == text


def test_reasons_in_words() -> None:
    assert messages.not_taken([]) == ""
    assert messages.not_taken(["It lies.", "It lies", "Late."]) == "built from source: It lies; Late"


DIGEST = "0123456789abcdef" * 2 + "01234567"


class UsesPart(Builds):
    """Also leaves a shared part, which the release refers to; unless the node has it in a cache."""

    def __init__(self, shared: Path) -> None:
        super().__init__([DONE])
        self.part = shared / "zlib" / DIGEST
        self.said: list[str] = []
        self.makes: list[str] = []

    def build(self, job: BuildJob) -> BuildResult:
        self.said.append(ask(job.environment[ASK], f"zlib {DIGEST}\n"))
        if not self.part.exists():
            self.makes.append("zlib")
            self.part.mkdir(parents=True)
            (self.part / "libz.so").write_text("zlib")
        result = super().build(job)
        (Path(job.folder) / ".installed.cfg").write_text(f"[zlib]\nlocation = {self.part}\n")
        return result.model_copy(update={"fingerprint": compute_fingerprint(Path(job.folder))})


def ask(address: str, cache_key: str) -> str:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(5)
        channel.connect(address)
        channel.sendall(cache_key.encode())
        return channel.makefile().readline().strip()


@pytest.fixture
def parts(world: World) -> UsesPart:
    """A world in which a release with a shared part was built and uploaded, with that part."""
    world.builder = world.reconciler._builder = parts = UsesPart(world.config.shared_parts)
    world.once()
    assert world.cache.uploads.once() == world.cache.uploads.once() == 0.0
    world.forget()
    return parts


def test_a_release_brings_the_shared_parts_that_it_uses(world: World, parts: UsesPart) -> None:
    remove_tree(parts.part)
    assert world.once().startswith("from cache")
    assert (parts.part / "libz.so").read_text() == "zlib"


def test_a_release_whose_shared_part_cannot_be_had_is_built(world: World, parts: UsesPart, shop: CrookedCache) -> None:
    remove_tree(parts.part)
    key = hashlib.sha256(f"zlib/{DIGEST}".encode()).hexdigest()
    del shop.entries[key]
    assert "shared part zlib, which cannot be had" in world.once()
    assert parts.makes == ["zlib", "zlib"]


def test_a_release_that_no_cache_has_takes_its_components_from_there(
    world: World, parts: UsesPart, shop: CrookedCache
) -> None:
    remove_tree(parts.part)
    del shop.entries[hashlib.sha256(URL.encode()).hexdigest()]
    world.once()
    assert parts.makes == ["zlib"] and len(world.builder.jobs) == 1
    assert parts.said[-1].startswith("from cache, signed by builder")


@pytest.mark.parametrize("cache_key", ["\n", "zlib\n", f"../etc {DIGEST}\n", "zlib ../..\n", "x" * 5000 + "\n"])
def test_strange_questions_about_parts_are_answered_politely(world: World, cache_key: str) -> None:
    with world.cache.building() as asking:
        assert ask(asking[ASK], cache_key) == "this is no question about a part"


def test_the_desk_for_parts_is_open_while_a_build_runs(world: World) -> None:
    with world.cache.building() as asking:
        path = Path(asking[ASK])
        with world.cache.building():
            assert path.stat().st_mode & 0o777 == 0o600
        assert path.exists()
    assert not path.exists()


def test_what_is_taken_belongs_to_who_would_have_built_it(tmp_path: Path) -> None:
    (tmp_path / "release/deep").mkdir(parents=True)
    (tmp_path / "release/deep/file").write_text("x")
    (tmp_path / "release/link").symlink_to("/etc/passwd")
    (tmp_path / "release/folders").symlink_to("deep")
    user, group = (1, 1) if environment.is_root() else (os.getuid(), os.getgid())
    for _ in range(2):  # what was cut off is done again
        own_tree(tmp_path / "release", Account("slapsoft", user, group, group))
        assert {(seen.st_uid, seen.st_gid) for seen in map(Path.lstat, tmp_path.rglob("*"))} == {(user, group)}
    assert Path("/etc/passwd").stat().st_uid == 0
