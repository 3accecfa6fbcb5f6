"""Blobs from one stream: whatever the pieces are cut like, each is handed on when it is whole and right, and only then."""

from hashlib import sha512

import pytest

from slap.cache.client.blob_batch import BlobBatch, BlobRef, Content
from slap.model.errors import SlapError

BLOBS = [b"one", b"the second", b"3" * 1000, b"the last"]
STREAM = b"".join(BLOBS)


def wanted(content: bytes) -> BlobRef:
    return BlobRef(sha512(content).hexdigest(), len(content))


class Taker:
    def __init__(self, *blobs: bytes) -> None:
        self.found: list[bytes] = []
        self.batch = BlobBatch(map(wanted, blobs), self._take)

    def _take(self, wanted: BlobRef, content: Content) -> None:
        assert wanted.matches(content)
        self.found.append(bytes(content))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 12, 13, 500, 1013, 5000])
def test_pieces_may_be_cut_anywhere(size: int) -> None:
    taker = Taker(*BLOBS)
    for start in range(0, len(STREAM), size):
        taker.batch.take(STREAM[start : start + size])
    taker.batch.end()
    assert taker.found == BLOBS and not taker.batch.missing


@pytest.mark.parametrize("at", [0, 3, 12, 13, 500, 1012, len(STREAM) - 1])
def test_a_byte_that_is_another_ends_it_where_it_is(at: int) -> None:
    taker = Taker(*BLOBS)
    wrong = STREAM[:at] + bytes([STREAM[at] ^ 1]) + STREAM[at + 1 :]
    with pytest.raises(SlapError, match="other bytes"):
        taker.batch.take(wrong)
    right = [blob for number, blob in enumerate(BLOBS) if len(b"".join(BLOBS[: number + 1])) <= at]
    assert taker.found == right and list(taker.batch.missing) == [wanted(blob) for blob in BLOBS[len(right) :]]


def test_what_is_too_short_or_too_long_is_refused() -> None:
    taker = Taker(*BLOBS)
    taker.batch.take(STREAM[:-1])
    with pytest.raises(SlapError):
        taker.batch.end()
    assert taker.found == BLOBS[:-1]
    with pytest.raises(SlapError):
        taker.batch.take(STREAM[-1:] + b"x")


def test_a_blob_that_should_be_empty_holds_nothing_up() -> None:
    taker = Taker(b"", b"one")
    taker.batch.take(b"one")
    taker.batch.end()
    assert taker.found == [b"", b"one"]
