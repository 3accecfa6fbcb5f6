"""One cache over one connection: who gets the token, what a cache says of itself, and caches that give blobs singly."""

from collections.abc import Iterator
from hashlib import sha512
from pathlib import Path

import pytest

from slap.cache.client.blob_batch import BlobBatch, BlobRef, Content
from slap.cache.client.chunk_store import ChunkStore
from slap.cache.client.client import CacheClient
from slap.cache.client.connection import CacheConnection
from slap.cache.client.settings import Cache, Settings, cache_at
from slap.cache.trust.store import TrustStore
from slap.model.errors import SlapError, Unreachable
from slap.system.transport import Tls
from tests.unit.cache.crooked import CrookedCache, crooked_cache

BLOBS = [b"%d" % number * 100 for number in range(32)]


def wanted(content: bytes) -> BlobRef:
    return BlobRef(sha512(content).hexdigest(), len(content))


class Bringing:
    def __init__(self) -> None:
        self.found: list[bytes] = []

    def ask(self, mirror: CacheConnection, *blobs: bytes) -> BlobBatch:
        batch = BlobBatch(map(wanted, blobs), self._take)
        mirror.bring(batch, batch.take)
        batch.end()
        return batch

    def _take(self, wanted: BlobRef, content: Content) -> None:
        self.found.append(bytes(content))


@pytest.fixture
def shop() -> Iterator[CrookedCache]:
    with crooked_cache() as made:
        made.blobs = {wanted(each).sha512: each for each in BLOBS}
        yield made


@pytest.fixture
def mirror(shop: CrookedCache) -> CacheConnection:
    return CacheConnection(shop.cache, Tls())


def client(folder: Path, upload: Cache | None, *caches: Cache) -> CacheClient:
    (folder / "token").write_text("secret\n")
    settings = Settings(caches=caches, upload=upload, token_file=folder / "token")
    return CacheClient(settings, TrustStore(folder / "trust.sqlite"), ChunkStore(folder / "chunks"))


def test_the_token_goes_to_the_upload_cache_and_to_nobody_else(tmp_path: Path, shop: CrookedCache) -> None:
    with crooked_cache() as other:
        node = client(tmp_path, shop.cache, shop.cache, other.cache)
        for each in (shop, other):
            mirror = node.mirror(each.cache)
            mirror.entries("key")
            mirror.put_blob(wanted(b"new").sha512, b"new")
        assert shop.credentials == ["Bearer secret"] * 2 and other.credentials == []


@pytest.mark.parametrize(
    ("url", "is_same"),
    [
        ("https://cache.example.com:8443/deep", True),
        ("https://me:password@CACHE.example.com:8443", True),
        ("http://cache.example.com:8443", False),
        ("https://cache.example.com", False),
        ("https://cache.example.com.evil.net:8443", False),
    ],
)
def test_one_origin_is_one_host_one_port_and_one_way_there(url: str, is_same: bool) -> None:
    assert (cache_at(url).origin == cache_at("https://cache.example.com:8443").origin) is is_same


def test_a_cache_does_not_choose_our_errors_and_its_words_are_harmless(
    shop: CrookedCache, mirror: CacheConnection
) -> None:
    shop.fault = "impostor"
    with pytest.raises(SlapError) as caught:
        mirror.entries("key")
    assert type(caught.value) is Unreachable and not caught.value.resolution
    assert caught.value.brief.startswith("[2Jxxx") and len(caught.value.brief) < 400


def test_a_cache_without_batches_is_asked_blob_by_blob_and_no_second_time(
    shop: CrookedCache, mirror: CacheConnection
) -> None:
    shop.has_batches = False
    bringing = Bringing()
    bringing.ask(mirror, *BLOBS[:16])
    bringing.ask(mirror, *BLOBS[16:])
    assert bringing.found == BLOBS
    assert len([each for each in shop.asked if "?" in each]) == 1


@pytest.mark.parametrize("has_batches", [True, False])
def test_one_blob_that_is_missing_takes_no_other_with_it(
    shop: CrookedCache, mirror: CacheConnection, has_batches: bool
) -> None:
    shop.has_batches = has_batches
    del shop.blobs[wanted(BLOBS[7]).sha512]
    bringing = Bringing()
    batch = bringing.ask(mirror, *BLOBS)
    assert batch.absent == [wanted(BLOBS[7])] and not batch.missing
    assert bringing.found == BLOBS[:7] + BLOBS[8:]


def test_a_cache_that_once_lacked_a_blob_is_still_asked_for_many(shop: CrookedCache, mirror: CacheConnection) -> None:
    bringing = Bringing()
    lost = shop.blobs.pop(wanted(BLOBS[0]).sha512)
    bringing.ask(mirror, *BLOBS[:4])
    shop.blobs[wanted(lost).sha512] = lost
    shop.asked.clear()
    bringing.ask(mirror, *BLOBS)
    assert len(shop.asked) == 1


def test_what_a_cache_refuses_it_is_not_asked_for_singly(shop: CrookedCache, mirror: CacheConnection) -> None:
    shop.fault = "fail"
    with pytest.raises(Unreachable, match="It answers 500"):
        Bringing().ask(mirror, *BLOBS)
    assert len(shop.asked) == 2
