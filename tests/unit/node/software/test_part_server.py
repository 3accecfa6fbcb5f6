"""Shared parts from caches, and what is remembered of parts and caches: among several at once, and after restarts."""

import os
import threading
from pathlib import Path

from slap.model.cache import EntryKind
from slap.node.cache.tools import CacheTools
from slap.node.cache.upload_queue import CacheStore
from slap.node.core.accounts import Account
from slap.node.core.marker import MARKER, read_fingerprint
from slap.node.software.cached_releases import make_node_cache
from slap.node.software.prune import find_leftovers
from slap.system.files import remove_tree
from tests.unit.cache.crooked import CrookedCache
from tests.unit.node.software.test_cached_releases import DIGEST, UsesPart, World, parts, world
from tests.unit.node.things import URL

__all__ = ["parts", "world"]


def restarted(world: World) -> None:
    """The same node in another process: all that it had in memory is gone."""
    world.tools = CacheTools(world.config, world.clock)
    world.cache = make_node_cache(world.tools, Account(), read_fingerprint, MARKER)
    world.reconciler.cache = world.cache


def test_of_several_that_want_a_part_at_once_one_brings_it(world: World, parts: UsesPart, shop: CrookedCache) -> None:
    remove_tree(parts.part)
    for path in world.config.chunks.glob("*/*"):
        path.unlink()
    shop.asked.clear()
    said: list[str] = []
    gate = threading.Barrier(8)

    def want() -> None:
        gate.wait(10)
        said.append(world.cache.fetch_part("zlib", DIGEST))

    threads = [threading.Thread(target=want) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert sorted(each.partition(",")[0] for each in said) == ["from cache", *["it is here"] * 7]
    assert (parts.part / "libz.so").read_text() == "zlib"
    assert sum("/blobs" in each for each in shop.asked) == 2  # its manifest, and its one chunk


def test_a_part_that_a_build_made_meanwhile_stays(world: World, parts: UsesPart, shop: CrookedCache) -> None:
    remove_tree(parts.part)
    note_taken = world.tools.store.note_taken

    def made_meanwhile(part: str) -> None:
        note_taken(part)
        parts.part.mkdir()
        (parts.part / "mine").touch()

    world.tools.store.note_taken = made_meanwhile  # type: ignore[method-assign]
    world.cache.fetch_part("zlib", DIGEST)
    assert [each.name for each in parts.part.iterdir()] == ["mine"]


def test_a_part_from_a_cache_is_not_signed_as_the_nodes_own_after_a_restart(
    world: World, parts: UsesPart, shop: CrookedCache
) -> None:
    for upload in world.tools.store.uploads():
        world.tools.store.forget(upload.kind, upload.key)
    remove_tree(parts.part)
    world.cache.fetch_part("zlib", DIGEST)
    restarted(world)
    shop.entries.clear()
    world.once()  # builds the release with that part
    assert [(each.kind, each.key) for each in world.tools.store.uploads()] == [(EntryKind.RELEASE, URL)]


def test_a_part_that_was_taken_once_and_is_built_now_is_the_nodes_own(
    world: World, parts: UsesPart, shop: CrookedCache
) -> None:
    remove_tree(parts.part)
    world.cache.fetch_part("zlib", DIGEST)
    remove_tree(parts.part)
    shop.entries.clear()
    world.once()
    assert EntryKind.PART in {each.kind for each in world.tools.store.uploads()}


def test_a_failure_long_ago_makes_no_new_one_worse(tmp_path: Path) -> None:
    store = CacheStore(tmp_path / "caches")
    now = 1e9
    for _ in range(9):
        now = store.mark_bad("it", "blip", now).until + 3601
    assert store.mark_bad("it", "blip", now).until == now + 60
    waits = []
    for _ in range(9):
        bad = store.mark_bad("other", "down", now)
        waits.append(bad.until - now)
        now = bad.until + 5
    assert waits[:3] == [60, 120, 240] and waits[-1] == 3600


def test_a_fetch_that_was_killed_is_pruned_once_nobody_fetches_it(tmp_path: Path, shop: CrookedCache) -> None:
    world = World(tmp_path, shop)
    for name in (".from-cache-old.tar.gz", ".from-cache-young.tar.gz"):
        (world.config.software_root / name).touch()
    os.utime(world.config.software_root / ".from-cache-old.tar.gz", (1, 1))
    assert [each.path.name for each in find_leftovers(world.config, world.store)] == [".from-cache-old.tar.gz"]
