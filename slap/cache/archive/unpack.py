"""Unpack an archive: fetched and decompressed ahead by threads, judged member by member, and whole or not there."""

import hashlib
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from slap.cache.archive.ahead import ahead
from slap.cache.archive.chunk import GetChunk, load
from slap.cache.archive.errors import CannotUnpack, ElsewhereOnly, broken
from slap.cache.archive.extract import Extraction
from slap.cache.archive.member import Place
from slap.cache.archive.write import Writer
from slap.model.cache.manifest import LARGEST_ARCHIVE, Manifest
from slap.model.errors import Conflict
from slap.system import files

_THREADS = 1
_AHEAD = 16


def unpack(manifest: Manifest, get_chunk: GetChunk, into: Path, place: Place, is_checked: bool = False) -> None:
    """Make the folder `into`, which does not exist yet, from the chunks of an archive.

    `place` is where the caller renames it to. Every chunk is checked against its digest before it is used, and the whole
    at the end; a member that could reach outside is refused. On any failure, raised as a SlapError, `into` is gone again.
    With `is_checked`, `get_chunk` itself gives nothing whose digest is not right, and the manifest is one that a trusted
    key signed: what it lists, in that order, is the whole. To compute all digests again costs a fifth of the time.
    """
    check(manifest, place)
    try:
        with _fresh(into), closing(Writer(str(into), place)) as writer:
            chunks = ahead(manifest.chunks, partial(load, get_chunk=get_chunk, is_checked=is_checked), _THREADS, _AHEAD)
            (_extract if is_checked else _extract_and_check)(chunks, manifest, writer)
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


def _extract(chunks: Generator[bytes, None, None], manifest: Manifest, writer: Writer) -> None:
    with closing(chunks):
        Extraction(chunks, writer).run()


def _extract_and_check(chunks: Generator[bytes, None, None], manifest: Manifest, writer: Writer) -> None:
    with closing(chunks), _Digest() as digest:
        Extraction(digest.watch(chunks), writer).run()
        if digest.value() != manifest.digest:
            raise broken("Its chunks are not those of one archive: the digest of the whole is another one.")


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


class _Digest:
    """The digest of all that passes, made by a thread of its own while the data is written."""

    def __init__(self) -> None:
        self._sha512 = hashlib.sha512()
        self._pool = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def __enter__(self) -> "_Digest":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def watch(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks; one that is still being read waits for the one before it, so at most two are held."""
        for chunk in chunks:
            before, self._last = self._last, self._pool.submit(self._sha512.update, chunk)
            if before:
                before.result()
            yield chunk

    def value(self) -> str:
        if self._last:
            self._last.result()
        return self._sha512.hexdigest()


def flush(folder: Path) -> None:
    """Have everything that was written to the disk of a folder outlast a power cut."""
    files.flush_disk(folder)
