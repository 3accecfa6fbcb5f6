"""What a packed folder consists of: the list of its chunks, and for which place it is."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from slap.model.base import Frozen
from slap.model.cache import AbsolutePath, Sha512

# More than any honest archive has: 64 GiB unpacked. The largest chunk bounds the memory of whoever unpacks.
LARGEST_CHUNK = 1 << 20
LARGEST_ARCHIVE = 64 << 30
MOST_CHUNKS = 1 << 19
# Bytes of a manifest, which each chunk takes fewer than 150 of: whatever is packed can be fetched, too.
LARGEST_MANIFEST = MOST_CHUNKS * 160

ChunkSize = Annotated[int, Field(gt=0, le=LARGEST_CHUNK)]
# What cannot be compressed grows by some bytes.
PackedSize = Annotated[int, Field(gt=0, le=LARGEST_CHUNK + (LARGEST_CHUNK >> 8) + 64)]


class ChunkRef(NamedTuple):
    """A piece of an archive, compressed by itself: the digest is of the compressed bytes, its name in the cache."""

    sha512: Sha512
    size: ChunkSize
    packed: PackedSize


class Manifest(Frozen):
    """How to make a folder again: unpack the chunks one after the other, and read the whole as a tar.

    `digest` is of the whole tar: the same build has the same digest, whoever packed it with whatever compressor.
    `path` is where the folder lay, and `root` the software root there. Where files mention either (`embeds_path`), the
    archive is for that place alone.
    """

    format: Literal[1] = 1
    path: AbsolutePath
    root: AbsolutePath
    embeds_path: bool
    digest: Sha512
    chunks: Annotated[tuple[ChunkRef, ...], Field(min_length=1, max_length=MOST_CHUNKS)]

    @property
    def size(self) -> int:
        """Bytes of all chunks as they travel."""
        return sum(chunk.packed for chunk in self.chunks)

    @property
    def unpacked_size(self) -> int:
        return sum(chunk.size for chunk in self.chunks)

    def fits(self, path: str, root: str) -> bool:
        """Whether what was packed works there too."""
        return not self.embeds_path or (self.path, self.root) == (path, root)

    def encoded(self) -> bytes:
        """As it travels: the same manifest is always the same bytes, so that these can be signed."""
        return self.model_dump_json().encode()
