"""Chunks: each compressed by itself, and known by the digest of its compressed bytes."""

import threading
from collections.abc import Callable
from hashlib import sha512

import zstandard

from slap.cache.archive.errors import broken
from slap.model.cache.manifest import ChunkRef
from slap.system.archive import BrokenArchive

# Sizes that the cuts are made for: see docs/explanation/cache-archives.md for what was measured.
LEAST, AVERAGE, MOST = 64 << 10, 128 << 10, 1 << 20
_LEVEL = 3

# Where the compressed bytes of a chunk come from, of the announced size, their digest looked at; called by another thread.
GetChunk = Callable[[ChunkRef], bytes | memoryview]

_own = threading.local()  # compressors keep state: each thread has its own


def compress(data: bytes) -> tuple[ChunkRef, bytes]:
    """A chunk as it travels, and its name."""
    if not hasattr(_own, "compressor"):
        _own.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
    packed: bytes = _own.compressor.compress(data)
    return ChunkRef(sha512(packed).hexdigest(), len(data), len(packed)), packed


def decompress(ref: ChunkRef, packed: bytes | memoryview) -> bytes:
    """What a chunk was made of; never more than was announced."""
    if not hasattr(_own, "decompressor"):
        _own.decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 23)
    try:
        # The size that the frame itself claims decides how much memory is taken: it is looked at first.
        if zstandard.frame_content_size(packed) != ref.size:
            raise _damaged(ref, f"it does not unpack to the announced {ref.size} bytes")
        data: bytes = _own.decompressor.decompress(packed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _damaged(ref, str(error)) from error
    return data


def _damaged(ref: ChunkRef, words: str) -> BrokenArchive:
    return broken(f"Chunk {ref.sha512[:16]}...: {words}.")
