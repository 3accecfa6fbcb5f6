"""Several caches side by side: the slow one, the one that lacks something, and what nobody foresaw, hold nothing up."""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from hashlib import sha512
from pathlib import Path

import pytest

from slap.cache.client import downloader as figures
from slap.cache.client.blob_batch import BlobBatch, BlobRef
from slap.cache.client.chunk_store import ChunkStore
from slap.cache.client.connection import CacheConnection
from slap.cache.client.downloader import BlobDownloader
from slap.cache.client.errors import DownloadFailed
from slap.cache.client.settings import Cache
from slap.system.transport import Tls
from tests.unit.cache.crooked import CrookedCache, crooked_cache

BLOBS = [random.Random(number).randbytes(100_000) for number in range(300)]  # 30 MB
WANTED = [BlobRef(sha512(each).hexdigest(), len(each)) for each in BLOBS]


@pytest.fixture
def shops() -> Iterator[tuple[CrookedCache, CrookedCache]]:
    with crooked_cache() as one, crooked_cache() as other:
        for each in (one, other):
            each.blobs = {wanted.sha512: blob for wanted, blob in zip(WANTED, BLOBS, strict=True)}
            each.at = "/api/v1/blobs"
        yield one, other


def courier(
    folder: Path, caches: Sequence[Cache], make: Callable[[Cache], CacheConnection] | None = None
) -> BlobDownloader:
    return BlobDownloader(WANTED, caches, make or (lambda cache: CacheConnection(cache, Tls())), ChunkStore(folder))


def bring(bringing: BlobDownloader) -> float:
    started = time.monotonic()
    with bringing:
        assert all(bringing.take(wanted) == blob for wanted, blob in zip(WANTED, BLOBS, strict=True))
    return time.monotonic() - started


@pytest.mark.parametrize("rate", [40 << 10, 60 << 10, 500 << 10, 4 << 20])
def test_a_slow_cache_beside_a_fast_one_costs_a_moment(
    tmp_path: Path, shops: tuple[CrookedCache, CrookedCache], rate: int
) -> None:
    slow, fast = shops
    slow.fault, slow.rate = "slow", rate
    assert bring(courier(tmp_path, [slow.cache, fast.cache])) < 3


def test_a_cache_that_is_left_for_a_faster_one_is_named(
    tmp_path: Path, shops: tuple[CrookedCache, CrookedCache]
) -> None:
    slow, fast = shops
    slow.fault, slow.rate = "slow", 60 << 10
    bringing = courier(tmp_path, [fast.cache, slow.cache])
    bring(bringing)
    assert [each.cache for each in bringing.troubles] == [slow.cache]
    assert "much less than another cache" in bringing.troubles[0].why


def test_a_fetch_that_would_take_longer_than_is_reasonable_is_given_up(
    tmp_path: Path, shops: tuple[CrookedCache, CrookedCache]
) -> None:
    slow = shops[0]
    slow.fault, slow.rate = "slow", 40 << 10  # four lines bring 160 KiB/s of 293 MiB
    much = [BlobRef(sha512(b"%d" % number).hexdigest(), 1 << 20) for number in range(263)]
    started = time.monotonic()
    with BlobDownloader(
        WANTED + much, [slow.cache], lambda cache: CacheConnection(cache, Tls()), ChunkStore(tmp_path)
    ) as bringing:
        with pytest.raises(DownloadFailed) as caught:
            for wanted in WANTED:
                bringing.take(wanted)
    assert time.monotonic() - started < figures.DOWNLOAD_STALL_SECONDS + 1.5
    assert "the rest would take" in caught.value.details and slow.cache.name in caught.value.details


def test_a_small_fetch_is_waited_for_from_the_same_cache(
    tmp_path: Path, shops: tuple[CrookedCache, CrookedCache]
) -> None:
    slow = shops[0]
    slow.fault, slow.rate = "slow", 40 << 10
    few = WANTED[:8]
    with BlobDownloader(
        few, [slow.cache], lambda cache: CacheConnection(cache, Tls()), ChunkStore(tmp_path)
    ) as bringing:
        assert [bytes(bringing.take(wanted)) for wanted in few] == BLOBS[:8]
    assert not bringing.troubles


def test_two_caches_that_each_lack_something_make_a_whole(
    tmp_path: Path, shops: tuple[CrookedCache, CrookedCache]
) -> None:
    one, other = shops
    for number in (3, 100, 200):
        del one.blobs[WANTED[number].sha512]
        del other.blobs[WANTED[number + 50].sha512]
    bringing = courier(tmp_path, [one.cache, other.cache])
    bring(bringing)
    assert not bringing.troubles


def test_what_all_lack_is_told(tmp_path: Path, shops: tuple[CrookedCache, CrookedCache]) -> None:
    for each in shops:
        del each.blobs[WANTED[250].sha512]
    with pytest.raises(DownloadFailed, match="not all of the blobs"):
        bring(courier(tmp_path, [each.cache for each in shops]))


class Odd(CacheConnection):
    """What it does nobody foresaw."""

    def bring(self, batch: BlobBatch, take: Callable[[bytes], None]) -> None:
        raise TypeError("nobody foresaw it")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_ours_with_one_cache_leaves_the_others(
    tmp_path: Path, shops: tuple[CrookedCache, CrookedCache]
) -> None:
    odd, good = shops[0].cache, shops[1].cache
    bringing = courier(tmp_path, [odd, good], lambda cache: (Odd if cache == odd else CacheConnection)(cache, Tls()))
    assert bring(bringing) < 3
    assert [each.cache for each in bringing.troubles] == [odd]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_ours_with_the_only_cache_ends_it(
    tmp_path: Path, shops: tuple[CrookedCache, CrookedCache]
) -> None:
    started = time.monotonic()
    with pytest.raises(DownloadFailed):
        bring(courier(tmp_path, [shops[0].cache], lambda cache: Odd(cache, Tls())))
    assert time.monotonic() - started < 1


class Stalling(ChunkStore):
    """On a disk that takes its time."""

    def put(self, chunks: object) -> None:
        time.sleep(2)


def test_a_disk_that_stalls_is_not_taken_for_a_cache_that_does(
    tmp_path: Path, shops: tuple[CrookedCache, CrookedCache]
) -> None:
    few = WANTED[:32]
    with BlobDownloader(
        few, [shops[0].cache], lambda cache: CacheConnection(cache, Tls()), Stalling(tmp_path)
    ) as bringing:
        assert all(bringing.take(wanted) == blob for wanted, blob in zip(few, BLOBS, strict=False))
    assert not bringing.troubles


def test_without_a_shelf_all_comes_from_the_cache(tmp_path: Path, shops: tuple[CrookedCache, CrookedCache]) -> None:
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as index:
        index.execute("create table chunk (other text)")
    assert bring(courier(tmp_path, [shops[0].cache])) < 5
