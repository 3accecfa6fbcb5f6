"""Look up builds in the configured caches, and download them."""

import hashlib
import shutil
import time
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from slap.cache.archive.member import Place
from slap.cache.archive.unpack import unpack
from slap.cache.client.blob_batch import BlobRef
from slap.cache.client.chunk_store import ChunkStore
from slap.cache.client.connection import CacheConnection
from slap.cache.client.downloader import BlobDownloader
from slap.cache.client.errors import CacheFailure, DownloadFailed
from slap.cache.client.legacy_download import stream_legacy_blob
from slap.cache.client.lookup import FoundEntry, FoundSlaposEntry, LookupResult, find_entries
from slap.cache.client.settings import Cache, Settings
from slap.cache.trust.cache_key import CacheKey
from slap.cache.trust.store import TrustStore
from slap.model.cache import Blob
from slap.model.cache.manifest import LARGEST_MANIFEST, ChunkRef, Manifest
from slap.model.errors import InvalidInput, SlapError
from slap.system import archive, files

# What is signed may still be larger than what anybody can hold.
_LARGEST_DOCUMENT = 16 << 20
_LARGEST_FORMER = 8 << 30

Progress = Callable[[int, int], None]  # bytes that are here, of so many


@dataclass(frozen=True)
class FetchResult:
    """Result of a download: bytes from the network, bytes from the local store, and the duration."""

    fetched: int
    reused: int
    seconds: float
    troubles: tuple[CacheFailure, ...] = ()  # of caches for which others stood in


class CacheClient:
    """Client of all configured caches, for several threads."""

    def __init__(self, settings: Settings, trust: TrustStore, chunk_store: ChunkStore) -> None:
        self.settings = settings
        self.trust = trust
        self.upload_timeout = 60.0  # seconds for a piece of an upload, with all that goes at the same time
        self._chunk_store = chunk_store
        self._token = files.read_or(settings.token_file, "").strip() if settings.token_file else ""

    def mirror(self, cache: Cache) -> CacheConnection:
        """Return a new connection to a cache, for one thread. Only the cache for uploads gets the token."""
        upload = self.settings.upload
        is_ours = upload is not None and upload.origin == cache.origin
        return CacheConnection(cache, self.settings.tls, self._token if is_ours else "")

    def find_entries(self, cache_key: CacheKey, without: Container[Cache] = ()) -> LookupResult:
        """Return the valid entries of a key, within 1.5 seconds. Stores revocations and successors of keys."""
        caches = [each for each in self.settings.caches if each not in without]
        return find_entries(cache_key, caches, self.mirror, self.trust)

    def fetch(self, found: FoundEntry, place: Place, into: Path, progress: Progress) -> FetchResult:
        """Create the folder `into` from an entry, completely or not at all; raises SlapError."""
        started = time.monotonic()
        entry = found.verified.entry
        manifest, first = self._manifest(found)
        left = {trouble.cache for trouble in first.troubles}
        found = replace(found, caches=tuple(cache for cache in found.caches if cache not in left))
        with self._downloader(found, map(_blob_ref, manifest.chunks), _ProgressCounter(progress, entry.size)) as second:
            unpack(manifest, lambda ref: second.take(_blob_ref(ref)), into, place)
        self._chunk_store.trim(self.settings.chunk_limit)
        return FetchResult(
            first.counted.fetched + second.counted.fetched, second.counted.reused, time.monotonic() - started,
            first.troubles + second.troubles,
        )  # fmt: skip

    def fetch_slapos_entry(self, found: FoundSlaposEntry, into: Path, progress: Progress) -> FetchResult:
        """Create the folder `into` from an entry of a SlapOS cache: download its tar.gz, then unpack it."""
        started = time.monotonic()
        packed = into.with_name(f"{into.name}.tar.gz")
        try:
            size = self._receive(found, packed, progress)
            files.make_folder(into)
            archive.unpack(packed, into, archive.Unpacking(strip=1))
        except (SlapError, OSError):
            shutil.rmtree(into, ignore_errors=True)
            raise
        finally:
            packed.unlink(missing_ok=True)
        return FetchResult(size, 0, time.monotonic() - started)

    def document(self, found: FoundEntry, blob: Blob) -> bytes:
        """Return a small blob that an entry names: its bill of materials or its provenance."""
        if blob.size > _LARGEST_DOCUMENT:
            raise InvalidInput(f"A document of {blob.size} bytes is not read.")
        wanted = BlobRef(blob.sha512, blob.size)
        with self._downloader(found, [wanted], lambda size: None) as courier:
            return bytes(courier.take(wanted))

    def _manifest(self, found: FoundEntry) -> tuple[Manifest, BlobDownloader]:
        """Return the manifest of an entry, and the downloader that fetched it."""
        entry = found.verified.entry
        if entry.manifest.size > LARGEST_MANIFEST:
            raise InvalidInput(f"A manifest of {entry.manifest.size} bytes is not read.")
        wanted = BlobRef(entry.manifest.sha512, entry.manifest.size)
        with self._downloader(found, [wanted], lambda size: None) as courier:
            content = bytes(courier.take(wanted))
        try:
            manifest = Manifest.model_validate_json(content)
        except ValidationError as error:
            raise InvalidInput("The manifest of an entry is malformed.", f"{error.error_count()} mistakes.") from error
        if (manifest.size, manifest.unpacked_size) != (entry.size, entry.unpacked_size):
            raise InvalidInput("An entry and its manifest do not belong together.")
        return manifest, courier

    def _downloader(
        self, found: FoundEntry, wanted: Iterable[BlobRef], arrived: Callable[[int], None]
    ) -> BlobDownloader:
        return BlobDownloader(wanted, found.caches, self.mirror, self._chunk_store, arrived)

    def _receive(self, found: FoundSlaposEntry, packed: Path, progress: Progress) -> int:
        digest, size = hashlib.sha512(), 0
        with packed.open("xb") as file:
            for piece in stream_legacy_blob(self.mirror(found.cache), found.verified.entry.sha512, _LARGEST_FORMER):
                digest.update(piece)
                file.write(piece)
                size += len(piece)
                progress(size, 0)
        if digest.hexdigest() != found.verified.entry.sha512:
            raise DownloadFailed("A cache sent other bytes than its entry promises.", ())
        return size


class _ProgressCounter:
    """Adds up received bytes and reports the total."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def __call__(self, size: int) -> None:
        self._done += size
        self._progress(min(self._done, self._total), self._total)


def _blob_ref(ref: ChunkRef) -> BlobRef:
    return BlobRef(ref.sha512, ref.packed)


def install_place(cache_key: CacheKey) -> Place:
    """Return the folder and the software root that the build of a cache key is installed in."""
    return Place(f"{cache_key.root.rstrip('/')}/{cache_key.name}", cache_key.root)
