"""Publish, look up, fetch: whole or not at all, whatever caches do, and within seconds."""

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from slap.cache.client.client import install_place
from slap.cache.client.errors import DownloadFailed
from slap.cache.client.lookup import find_entries
from slap.cache.client.publish import BuildOutput, publish
from slap.cache.client.settings import cache_at
from slap.cache.trust.sign import sign_revocation
from slap.model.cache.manifest import LARGEST_ARCHIVE, LARGEST_CHUNK, LARGEST_MANIFEST, MOST_CHUNKS, ChunkRef, Manifest
from slap.model.errors import SlapError
from tests.unit.cache.crooked import CrookedCache, crooked_cache, dead_cache
from tests.unit.cache.things import Side, a_side, tree
from tests.unit.system.unanswered import dropping, mute

OTHER = "http://example.com/2/software.cfg"


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


FILES = {"bin/run": b"#!/bin/sh\n", "lib/big": content(1, 3 << 20), "lib/empty": b""}


@pytest.fixture
def builder(tmp_path: Path) -> Side:
    return a_side(tmp_path / "builder", tmp_path / "opt")


@pytest.fixture
def taker(tmp_path: Path, builder: Side) -> Side:
    return a_side(tmp_path / "taker", tmp_path / "opt", builder.key)


def test_what_one_node_publishes_another_one_gets(shop: CrookedCache, builder: Side, taker: Side) -> None:
    folder = builder.build(FILES)
    published = builder.publish(folder, shop.cache)
    client = taker.client(shop.cache)
    fetched = taker.fetch(client.find_entries(taker.cache_key()), client, taker.folder / "into")
    assert tree(taker.folder / "into") == FILES
    assert fetched.reused == 0 and fetched.fetched >= published.entry.size


def test_publishing_again_sends_nothing(shop: CrookedCache, builder: Side) -> None:
    folder = builder.build(FILES)
    assert builder.publish(folder, shop.cache).sent > 0
    blobs = dict(shop.blobs)
    published = builder.publish(folder, shop.cache, now=time.time() + 5)
    assert published.sent < 4096  # the provenance says when, and so does the entry
    assert set(blobs) <= set(shop.blobs)


def test_of_the_next_version_only_what_changed_is_fetched(shop: CrookedCache, builder: Side, taker: Side) -> None:
    builder.publish(builder.build(FILES), shop.cache)
    changed = bytearray(FILES["lib/big"])
    changed[1 << 20 : (1 << 20) + 1000] = content(2, 1000)
    builder.publish(builder.build(FILES | {"lib/big": bytes(changed)}, OTHER), shop.cache, OTHER)
    client = taker.client(shop.cache)
    first = taker.fetch(client.find_entries(taker.cache_key()), client, taker.folder / "one")
    second = taker.fetch(client.find_entries(taker.cache_key(OTHER)), client, taker.folder / "two", OTHER)
    assert tree(taker.folder / "two")["lib/big"] == bytes(changed)
    assert second.fetched < first.fetched * 0.4 and second.reused > first.fetched * 0.6


DECAYED: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[:10],
    "flipped": lambda content: bytes(each ^ 1 for each in content),
    "emptied": lambda content: b"",
}


@pytest.mark.parametrize("how", DECAYED)
def test_a_chunk_that_decayed_on_the_shelf_is_fetched_again(
    shop: CrookedCache, builder: Side, taker: Side, how: str
) -> None:
    builder.publish(builder.build(FILES), shop.cache)
    client = taker.client(shop.cache)
    found = client.find_entries(taker.cache_key())
    taker.fetch(found, client, taker.folder / "one")
    for path in (taker.folder / "chunks/packs").iterdir():
        path.write_bytes(DECAYED[how](path.read_bytes()))
    fetched = taker.fetch(found, client, taker.folder / "two")
    assert fetched.reused == 0 and tree(taker.folder / "two") == FILES


@pytest.mark.parametrize(
    "fault",
    ["flip", "truncate", "shorten", "lose", "fail", "impostor", "babble", "endless", "drip", "drip_headers", "hang"],
)
def test_a_cache_that_misbehaves_is_given_up_within_seconds(
    shop: CrookedCache, builder: Side, taker: Side, fault: str
) -> None:
    builder.publish(builder.build(FILES), shop.cache)
    client = taker.client(shop.cache)
    found = client.find_entries(taker.cache_key())
    shop.fault, shop.at = fault, "/api/v1/blobs"
    started = time.monotonic()
    with pytest.raises(DownloadFailed) as caught:
        taker.fetch(found, client, taker.folder / "into")
    assert time.monotonic() - started < 4
    assert [each.cache for each in caught.value.troubles] == [shop.cache]
    assert not (taker.folder / "into").exists()


@pytest.mark.parametrize("fault", ["flip", "lose", "impostor", "drip", "hang"])
def test_another_cache_stands_in_for_one_that_misbehaves(
    shop: CrookedCache, builder: Side, taker: Side, fault: str
) -> None:
    builder.publish(builder.build(FILES), shop.cache)
    with crooked_cache() as other:
        other.blobs, other.entries = shop.blobs, shop.entries
        client = taker.client(other.cache, shop.cache)
        found = client.find_entries(taker.cache_key())
        other.fault, other.at = fault, "/api/v1/blobs"
        fetched = taker.fetch(found, client, taker.folder / "into")
        assert [each.cache for each in fetched.troubles] == [other.cache]
    assert tree(taker.folder / "into") == FILES


@pytest.mark.parametrize(("place", "scheme"), [(dropping, "http"), (mute, "https")])
def test_another_cache_stands_in_for_one_that_vanished(
    shop: CrookedCache, builder: Side, taker: Side, place: Callable[[], AbstractContextManager[int]], scheme: str
) -> None:
    builder.publish(builder.build(FILES), shop.cache)
    with place() as port:
        gone = cache_at(f"{scheme}://127.0.0.1:{port}")
        client = taker.client(shop.cache)
        found = replace(client.find_entries(taker.cache_key()).found[0], caches=(gone, shop.cache))
        started = time.monotonic()
        fetched = client.fetch(found, install_place(taker.cache_key()), taker.folder / "into", lambda done, total: None)
        assert time.monotonic() - started < 5
    assert [each.cache for each in fetched.troubles] == [gone]
    assert tree(taker.folder / "into") == FILES


@pytest.mark.parametrize(("place", "scheme"), [(dropping, "http"), (mute, "https")])
def test_an_upload_to_a_cache_that_vanished_ends(
    builder: Side, place: Callable[[], AbstractContextManager[int]], scheme: str
) -> None:
    folder = builder.build(FILES)
    with place() as port:
        client = builder.client(upload=cache_at(f"{scheme}://127.0.0.1:{port}"))
        client.upload_timeout = 1
        started = time.monotonic()
        with pytest.raises(SlapError):
            publish(
                BuildOutput(folder, builder.cache_key(), "COMP-1", 1, 2),
                builder.key,
                client,
                builder.chunk_store,
                lambda size: None,
            )
        assert time.monotonic() - started < 5


def test_many_slow_caches_get_no_more_time_than_a_few(shop: CrookedCache, builder: Side, taker: Side) -> None:
    builder.publish(builder.build(FILES), shop.cache)
    client = taker.client(shop.cache)
    found = client.find_entries(taker.cache_key()).found[0]
    with ExitStack() as opened:
        slow = [opened.enter_context(crooked_cache()) for _ in range(13)]
        for each in slow:
            each.fault = "hang"
        started = time.monotonic()
        with pytest.raises(DownloadFailed):
            client.fetch(
                replace(found, caches=tuple(each.cache for each in slow)), install_place(taker.cache_key()),
                taker.folder / "into", lambda done, total: None,
            )  # fmt: skip
        assert time.monotonic() - started < 4.5


@pytest.mark.parametrize("fault", ["fail", "babble", "endless", "drip", "drip_headers", "hang", "truncate"])
def test_looking_up_takes_a_moment_whatever_a_cache_does(
    shop: CrookedCache, builder: Side, taker: Side, fault: str
) -> None:
    builder.publish(builder.build(FILES), shop.cache)
    with crooked_cache() as other:
        other.fault = fault
        started = time.monotonic()
        found = taker.client(other.cache, dead_cache(), shop.cache).find_entries(taker.cache_key())
        assert time.monotonic() - started < 2
        assert [each.verified.key for each in found.found] == [builder.key.public]
        assert [each.cache for each in found.troubles] == [other.cache, dead_cache()]


def test_the_newest_entry_comes_first_and_is_shown_by_both(shop: CrookedCache, builder: Side, taker: Side) -> None:
    folder = builder.build(FILES)
    now = time.time()
    builder.publish(folder, shop.cache, now=now - 100)
    builder.publish(folder, shop.cache, now=now - 50)
    with crooked_cache() as other:
        other.entries, other.blobs = shop.entries, shop.blobs
        found = taker.client(shop.cache, other.cache).find_entries(taker.cache_key()).found
        assert [each.verified.entry.version for each in found] == [int(now - 50), int(now - 100)]
        assert found[0].caches == (shop.cache, other.cache)


def test_a_revocation_counts_before_the_entries_of_that_key(shop: CrookedCache, builder: Side, taker: Side) -> None:
    builder.publish(builder.build(FILES), shop.cache)
    mirror = builder.client(upload=shop.cache).mirror(shop.cache)
    mirror.put_entry(builder.key.public.id, sign_revocation(builder.key, time.time(), "stolen"))
    found = taker.client(shop.cache).find_entries(taker.cache_key())
    assert not found.found and "stolen" in found.notices[0] and "revoked" in found.refused[0]
    assert taker.trust.revoked_key(builder.key.public.id)


def test_what_nobody_trusts_is_refused_with_a_reason(shop: CrookedCache, builder: Side, tmp_path: Path) -> None:
    builder.publish(builder.build(FILES), shop.cache)
    stranger = a_side(tmp_path / "stranger", tmp_path / "opt")
    client = stranger.client(shop.cache)
    found = find_entries(stranger.cache_key(), [shop.cache], client.mirror, stranger.trust)
    assert not found.found and "not trusted here" in found.refused[0]


def test_a_broken_entry_takes_no_other_with_it(shop: CrookedCache, builder: Side, taker: Side) -> None:
    builder.publish(builder.build(FILES), shop.cache)
    for entries in shop.entries.values():
        entries[:0] = [17, {"payload": "?"}, {"signatures": []}]
    assert len(taker.client(shop.cache).find_entries(taker.cache_key()).found) == 1


def test_a_chunk_that_comes_up_twice_is_there_twice(shop: CrookedCache, builder: Side, taker: Side) -> None:
    twice = content(7, 2 << 20)
    files = {"a": twice, "m": content(8, 4 << 20), "z": twice}
    builder.publish(builder.build(files), shop.cache)
    client = taker.client(shop.cache)
    taker.fetch(client.find_entries(taker.cache_key()), client, taker.folder / "into")
    assert tree(taker.folder / "into") == files


def test_chunks_that_come_up_again_do_not_wait_for_room_behind_those_that_come_later(
    shop: CrookedCache, builder: Side, taker: Side
) -> None:
    twice = content(9, 6 << 20)
    files = {"a": twice, "b": twice, "z": content(10, 48 << 20)}
    builder.publish(builder.build(files), shop.cache)
    client = taker.client(shop.cache)
    taker.fetch(client.find_entries(taker.cache_key()), client, taker.folder / "into")
    assert tree(taker.folder / "into") == files


def test_a_build_that_is_only_for_its_place_is_not_unpacked_elsewhere(
    shop: CrookedCache, builder: Side, tmp_path: Path
) -> None:
    folder = builder.build({"bin/run": b"#!" + str(builder.root).encode() + b"/bin/python\n"})
    builder.publish(folder, shop.cache)
    elsewhere = a_side(tmp_path / "elsewhere", tmp_path / "other-opt", builder.key)
    found = elsewhere.client(shop.cache).find_entries(elsewhere.cache_key())
    assert not found.found and "another software root" in found.refused[0]


def test_a_folder_that_changes_while_it_is_packed_is_not_signed(shop: CrookedCache, builder: Side) -> None:
    folder = builder.build(FILES)
    built = BuildOutput(folder, builder.cache_key(), "COMP-1", 1, 2, is_current=lambda: False)
    with pytest.raises(SlapError, match="changed while"):
        publish(built, builder.key, builder.client(upload=shop.cache), builder.chunk_store, lambda size: None)
    assert not shop.entries


@pytest.mark.parametrize("fault", ["fail", "impostor", "hang"])
def test_an_upload_to_a_cache_that_takes_nothing_ends(shop: CrookedCache, builder: Side, fault: str) -> None:
    folder = builder.build(FILES)
    client = builder.client(upload=shop.cache)
    client.upload_timeout = 0.5
    shop.fault = fault
    started = time.monotonic()
    with pytest.raises(SlapError):
        publish(
            BuildOutput(folder, builder.cache_key(), "COMP-1", 1, 2),
            builder.key,
            client,
            builder.chunk_store,
            lambda size: None,
        )
    assert time.monotonic() - started < 3 and not shop.entries


def test_whatever_may_be_packed_has_a_manifest_that_is_read() -> None:
    chunk = ChunkRef("f" * 128, LARGEST_CHUNK, LARGEST_CHUNK + 64)

    def encoded(chunks: int) -> int:
        path = "/" + "\\" * 999
        return len(
            Manifest(path=path, root=path, embeds_path=False, digest="f" * 128, chunks=(chunk,) * chunks).encoded()
        )

    each = encoded(2) - encoded(1)
    assert encoded(1) + each * MOST_CHUNKS < LARGEST_MANIFEST
    assert MOST_CHUNKS > LARGEST_ARCHIVE / (192 << 10)  # which chunks have on average
