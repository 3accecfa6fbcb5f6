"""Blobs: bytes under the SHA-512 of themselves, taken in and given out piece by piece."""

import asyncio
import hashlib
import re
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from slap.cache.server.body import Body
from slap.cache.server.quota import Quota, Reservation
from slap.cache.server.ranges import Span, parse_range
from slap.cache.storage.storage import PIECE, Storage
from slap.model.errors import InvalidInput, NotFound, StorageFull

_DIGEST = re.compile(r"[0-9a-f]{128}")
_UPLOADS = 32  # side by side; the others wait
_ASKS = 8  # of a storage that may be far away, side by side
_RUN = 256 << 10  # bytes of several small blobs that are read by one thread, and sent at once
_AHEAD = 4  # runs, of which one is being sent

Part = tuple[str, int, int]  # of the blob of a key, from where to where


@dataclass(frozen=True)
class OpenBlob:
    """A blob on its way out."""

    span: Span
    pieces: Iterator[bytes]


@dataclass(frozen=True)
class BlobStream:
    """Several blobs on their way out."""

    length: int
    pieces: AsyncIterator[bytes]


class Blobs:
    """The blobs of a storage. What blocks is done in threads."""

    def __init__(self, storage: Storage, quota: Quota, spool: Path) -> None:
        self._storage = storage
        self._quota = quota
        self._spool = spool
        self._uploads = ThreadPoolExecutor(_UPLOADS, "upload")

    async def size(self, digest: str) -> int:
        """Raises NotFound for a blob that is not there."""
        size = await asyncio.to_thread(self._storage.size, blob_key(digest))
        if size is None:
            raise _absent(digest)
        return size

    async def open(self, digest: str, wanted: str) -> OpenBlob:
        """A blob, or the part of it that a Range header wants."""
        return await asyncio.to_thread(self._open, blob_key(digest), digest, wanted)

    async def open_all(self, digests: Sequence[str]) -> BlobStream:
        """Several blobs, one after the other; raises NotFound when one of them is not there."""
        keys = [blob_key(digest) for digest in digests]
        found = await asyncio.gather(*(asyncio.to_thread(self._sizes, keys[shift::_ASKS]) for shift in range(_ASKS)))
        sizes = [found[number % _ASKS][number // _ASKS] for number in range(len(keys))]
        return BlobStream(sum(sizes), self._read_ahead(runs(keys, sizes)))

    async def has(self, digest: str) -> bool:
        return await asyncio.to_thread(self._storage.size, blob_key(digest)) is not None

    async def receive(self, digest: str, body: Body) -> None:
        """Store a blob; raises InvalidInput, and stores nothing, when its bytes are others than its name says."""
        await self._in_thread(lambda room: self._put(digest, _checked(body.pieces(room), digest)), body)

    async def receive_unnamed(self, body: Body) -> str:
        """Store a blob whose name is known when all of it came; its name."""
        return await self._in_thread(lambda room: self._spooled(body, room), body)

    def close(self) -> None:
        self._uploads.shutdown(wait=False, cancel_futures=True)

    async def _read_ahead(self, parts: Iterable[Sequence[Part]]) -> AsyncIterator[bytes]:
        """Each run is read while those before it are sent: to ask for one after the other takes long where each is far."""
        waiting: deque[asyncio.Task[bytes]] = deque()
        try:
            for run in parts:
                waiting.append(asyncio.create_task(asyncio.to_thread(self._read, run)))
                if len(waiting) == _AHEAD:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()

    def _read(self, run: Sequence[Part]) -> bytes:
        return b"".join(piece for key, start, end in run for piece in self._storage.get(key, start, end))

    def _open(self, key: str, digest: str, wanted: str) -> OpenBlob:
        size = self._storage.size(key)
        if size is None:
            raise _absent(digest)
        span = parse_range(wanted, size)
        pieces = self._storage.get(key, span.start, span.end)
        if span.length <= PIECE:  # read now, so that all is done in one visit to this thread
            pieces = iter(tuple(pieces))
        return OpenBlob(span, pieces)

    def _sizes(self, keys: Sequence[str]) -> list[int]:
        sizes = []
        for key in keys:
            size = self._storage.size(key)
            if size is None:
                raise _absent(key.removeprefix("blob/"))
            sizes.append(size)
        return sizes

    def _spooled(self, body: Body, room: Reservation) -> str:
        with tempfile.TemporaryFile(dir=self._spool) as file:
            digest = hashlib.sha512()
            for piece in body.pieces(room):
                digest.update(piece)
                file.write(piece)
            file.seek(0)
            self._put(digest.hexdigest(), iter(lambda: file.read(PIECE), b""))
        return digest.hexdigest()

    def _put(self, digest: str, pieces: Iterable[bytes]) -> str:
        try:
            self._storage.put(blob_key(digest), pieces)
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            raise StorageFull(
                "The cache cannot store this.", error.strerror or str(error), "Try again later."
            ) from error
        return digest

    async def _in_thread(self, work: Callable[[Reservation], str], body: Body) -> str:
        room, stored = Reservation(self._quota), None
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._uploads, work, room)
            stored = body.received
            return result
        finally:
            room.settle(stored)


def blob_key(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise InvalidInput(
            f"{digest[:200]!r} is no name of a blob.", "It is a SHA-512 in 128 small hexadecimal digits."
        )
    return f"blob/{digest}"


def runs(keys: Sequence[str], sizes: Sequence[int]) -> Iterator[list[Part]]:
    """All bytes of blobs, as parts that are read one after the other; the first comes alone, since somebody waits for it."""
    run: list[Part] = []
    length, most = 0, 0
    for key, size in zip(keys, sizes, strict=True):
        for start in range(0, size, _RUN):
            part = (key, start, min(start + _RUN, size))
            if run and length + part[2] - start > most:
                yield run
                run, length, most = [], 0, _RUN
            run.append(part)
            length += part[2] - start
    if run:
        yield run


def _checked(pieces: Iterable[bytes], digest: str) -> Iterator[bytes]:
    seen = hashlib.sha512()
    for piece in pieces:
        seen.update(piece)
        yield piece
    if seen.hexdigest() != digest:
        raise InvalidInput(
            "These are not the bytes that their name says.",
            f"They have the SHA-512 {seen.hexdigest()}.",
            "They were changed on the way, or cut off: send them again.",
        )


def _absent(digest: str) -> NotFound:
    return NotFound(f"The cache has no blob {digest}.", "It was never stored, or was removed as garbage.")
