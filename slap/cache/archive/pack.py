"""Pack a folder: a tar that says nothing of when and by whom it was built, cut where its content says, and compressed."""

import os
from collections.abc import Callable, Iterator, Set
from hashlib import sha512
from pathlib import Path

from pyfastcdc import FastCDC

from slap.cache.archive.chunk import AVERAGE, LEAST, MOST, compress
from slap.cache.archive.errors import CannotPack
from slap.cache.archive.member import Place
from slap.cache.archive.pipeline import read_ahead
from slap.cache.archive.tree import PieceReader, Tree
from slap.model.cache.manifest import LARGEST_ARCHIVE, MOST_CHUNKS, ChunkRef, Manifest

# Who keeps the compressed bytes of a chunk; called for one after the other, by the thread that packs.
PutChunk = Callable[[ChunkRef, bytes], None]

_THREADS = 2
_AHEAD = 16


def pack(folder: Path, place: Place, put_chunk: PutChunk, without: Set[str] = frozenset()) -> Manifest:
    """Hand out all chunks of a folder, and return how they belong together.

    `place` is where the folder was built for; `without` names what lies in it (as in "parts/.log")
    and is not part of the build.
    The same folder is always the same manifest. Memory does not grow with the size, but for 200 bytes a chunk.
    """
    cutter = Chunker(place)
    try:
        stream = Tree(str(folder), place, without).stream()
        refs = []
        for ref, packed in read_ahead(cutter.cut(stream), compress, _THREADS, _AHEAD):
            put_chunk(ref, packed)
            refs.append(ref)
    except OSError as error:
        raise CannotPack(f"{folder} cannot be packed for the cache.", str(error), "Check its permissions.") from error
    return Manifest(
        path=place.path, root=place.root, embeds_path=cutter.embeds, digest=cutter.digest(), chunks=tuple(refs)
    )


class Chunker:
    """Cuts the stream where its content says, into `most` chunks, and looks at it as a whole while it passes."""

    def __init__(self, place: Place, most: int = MOST_CHUNKS) -> None:
        self._most = most
        self._digest = sha512()
        self._needles = _needles(place)
        self._overlap = max(map(len, self._needles)) - 1
        self._size = 0
        self.embeds = False

    def cut(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        tail = b""
        for number, chunk in enumerate(
            FastCDC(AVERAGE, min_size=LEAST, max_size=MOST).cut_stream(PieceReader(stream)), 1
        ):
            data = bytes(chunk.data)
            self._digest.update(data)
            self._size += len(data)
            if number > self._most or self._size > LARGEST_ARCHIVE:
                raise _too_large(self._most)
            self.embeds = self.embeds or self._is_in(tail + data[: self._overlap]) or self._is_in(data)
            tail = data[-self._overlap :]
            yield data

    def digest(self) -> str:
        return self._digest.hexdigest()

    def _is_in(self, data: bytes) -> bool:
        return any(needle in data for needle in self._needles)


def _too_large(chunks: int) -> CannotPack:
    return CannotPack(
        "The folder is too large for the cache.",
        f"It has more than {LARGEST_ARCHIVE >> 30} GiB, or is cut into more than {chunks} chunks.",
        "It works on this machine all the same; other machines build it from source.",
    )


def _needles(place: Place) -> tuple[bytes, ...]:
    """What files mention that only work in one place: the software root or the folder, by either of its names."""
    names = {name for path in (place.path, place.root) for name in (path, os.path.realpath(path))} - {"/"}
    return tuple(os.fsencode(name) for name in names if not any(other != name and other in name for other in names))
