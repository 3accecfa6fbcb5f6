"""Unpack an archive: fetched and decompressed ahead by threads, judged member by member, and whole or not there."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from slap.cache.archive.chunk import GetChunk, decompress
from slap.cache.archive.errors import CannotUnpack, ElsewhereOnly, broken
from slap.cache.archive.extract import Extraction
from slap.cache.archive.member import Place
from slap.cache.archive.pipeline import read_ahead
from slap.cache.archive.write import Writer
from slap.model.cache.manifest import LARGEST_ARCHIVE, ChunkRef, Manifest
from slap.model.errors import Conflict
from slap.system import files

_THREADS = 1
_AHEAD = 16


def unpack(manifest: Manifest, get_chunk: GetChunk, into: Path, place: Place) -> None:
    """Make the folder `into`, which does not exist yet, from the chunks of an archive.

    `place` is where the caller renames it to. `get_chunk` gives nothing whose digest is not right, and the manifest is one
    that a trusted key signed: what it lists, in that order, is the whole. A member that could reach outside is refused.
    On any failure, raised as a SlapError, `into` is gone again.
    """

    def load(ref: ChunkRef) -> bytes:
        return decompress(ref, get_chunk(ref))

    check(manifest, place)
    try:
        with (
            _fresh(into),
            closing(Writer(str(into), place)) as writer,
            closing(read_ahead(manifest.chunks, load, _THREADS, _AHEAD)) as chunks,
        ):
            Extraction(chunks, writer).run()
    except OSError as error:
        raise CannotUnpack(
            f"The archive cannot be unpacked into {into}.", str(error), "Check the disk: slapos node prune makes room."
        ) from error


def check(manifest: Manifest, place: Place) -> None:
    """Raise what speaks against an archive before any of its chunks is fetched."""
    if not manifest.fits(place.path, place.root):
        raise ElsewhereOnly(
            f"The archive is for {manifest.path} alone.",
            f"Its files mention that path or the software root {manifest.root}; here it would be {place.path}.",
            f"Use the software root {manifest.root} on this node as well, or let it build from source.",
        )
    if manifest.unpacked_size > LARGEST_ARCHIVE:
        raise broken(f"It unpacks to {manifest.unpacked_size} bytes, more than an archive may have.")


@contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """A folder that is gone again unless all went well."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise Conflict(f"{folder} exists already.", "An archive is unpacked into a new folder.") from None
    done = False
    try:
        yield
        folder.chmod(0o755)
        done = True
    finally:
        if not done:
            files.remove_tree(folder)


def flush(folder: Path) -> None:
    """Have everything that was written to the disk of a folder outlast a power cut."""
    files.flush_disk(folder)
