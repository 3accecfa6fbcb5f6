"""Upload a build: the chunks that the cache lacks, then the documents, and the signed entry last."""

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from slap.cache.archive.pack import pack
from slap.cache.client.chunk_store import ChunkStore, PackWriter
from slap.cache.client.client import CacheClient, install_place
from slap.cache.client.connection import CacheConnection
from slap.cache.client.settings import Cache
from slap.cache.provenance.release import Used, read_materials
from slap.cache.provenance.sbom import bill
from slap.cache.provenance.statement import Build, make_provenance
from slap.cache.trust.cache_key import CacheKey
from slap.cache.trust.keys import SigningKey
from slap.cache.trust.sign import renew_entry, sign_entry
from slap.model.cache import Blob, Entry, SignedEntry
from slap.model.cache.manifest import ChunkRef
from slap.model.errors import SlapError, Unreachable

_WORKERS = 4
_MAX_PENDING = 16

OnSent = Callable[[int], None]  # bytes of chunks that are in the cache now


@dataclass(frozen=True)
class BuildOutput:
    """A build to upload: its folder, its cache key, its builder, and the times of its start and end."""

    folder: Path
    cache_key: CacheKey
    builder: str
    started_at: int
    built_at: int
    fingerprint: str = ""
    software: str = ""
    without: frozenset[str] = frozenset()  # names directly in the folder that are not part of the build
    is_current: Callable[[], bool] = lambda: True  # whether the folder is still what it was


@dataclass(frozen=True)
class PublishResult:
    """Result of an upload: bytes of all its blobs, documents included, and of the blobs that the cache did not have."""

    entry: Entry
    size: int
    sent: int


def publish(
    built: BuildOutput, key: SigningKey, client: CacheClient, chunk_store: ChunkStore, sent: OnSent
) -> PublishResult:
    """Raises SlapError. May be repeated: what the cache has is not sent again, and without its entry nothing counts."""
    cache = client.settings.upload
    if cache is None:
        raise SlapError("No cache is configured to upload to.", "", "Set upload-url in section [networkcache].")
    if not cache.own:
        raise SlapError(f"{cache.name} has no protocol but SlapOS's.", "Builds are uploaded by ours.", "")
    with _Uploader(client, cache, chunk_store, sent) as sender:
        entry = _upload(built, sender)
    if not built.is_current():
        raise SlapError(f"{built.folder} was changed while it was packed.", "", "It is uploaded when that is over.")
    with _Uploader(client, cache, chunk_store, sent) as last:
        last.entry(sign_entry(entry, key), entry.key)
    return PublishResult(entry, sender.size, sender.sent)


def _upload(built: BuildOutput, sender: "_Uploader") -> Entry:
    cache_key = built.cache_key
    manifest = pack(built.folder, install_place(cache_key), sender.put, built.without)
    encoded = manifest.encoded()
    blob = sender.document(encoded)
    used = read_materials(built.folder)
    sbom_bytes = bill(used, cache_key.key, cache_key.platform.os)
    sbom = sender.document(sbom_bytes)
    provenance = sender.document(_provenance(built, blob, sbom, used))
    entry = Entry(
        kind=cache_key.kind, key=cache_key.key, root=cache_key.root, folder=cache_key.name, platform=cache_key.platform,
        manifest=blob, size=manifest.size, unpacked_size=manifest.unpacked_size, built_at=built.built_at,
        version=0, expires_at=0, builder=built.builder, sbom=sbom, provenance=provenance,
    )  # fmt: skip
    return renew_entry(entry, cache_key.now)


def _provenance(built: BuildOutput, manifest: Blob, sbom: Blob, used: tuple[Used, ...]) -> bytes:
    cache_key = built.cache_key
    build = Build(
        url=cache_key.key, root=cache_key.root, folder=cache_key.name, platform=cache_key.platform,
        builder=built.builder, started_at=built.started_at, finished_at=built.built_at,
        fingerprint=built.fingerprint, software=built.software,
    )  # fmt: skip
    return make_provenance(build, {"manifest": manifest.sha512, "sbom": sbom.sha512}, used)


class _Uploader:
    """Uploads blobs by a few threads, with a bounded queue."""

    def __init__(self, client: CacheClient, cache: Cache, chunk_store: ChunkStore, sent: OnSent) -> None:
        self.size = 0
        self.sent = 0
        self._packer = PackWriter(chunk_store)  # the next version of the same release begins with what is on the shelf
        self._on_sent = sent
        self._mirrors: deque[CacheConnection] = deque(client.mirror(cache) for _ in range(_WORKERS))
        self._pending: deque[Future[int]] = deque()
        self._pool = ThreadPoolExecutor(_WORKERS, "upload")
        self._timeout = client.upload_timeout
        self._name = cache.name
        self._lines = tuple(each.line for each in self._mirrors)

    def __enter__(self) -> "_Uploader":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Wait until all queued blobs are uploaded, and raise the first failure."""
        try:
            self._packer.flush()
            while self._pending and kind is None:
                self._wait_for_oldest()
        finally:
            if kind is not None or self._pending:  # it failed: what is under way is of no use
                self._cut()
            self._pool.shutdown(wait=True, cancel_futures=True)
            for line in self._lines:
                line.close()

    def put(self, ref: ChunkRef, packed: bytes) -> None:
        self._packer.put(ref.sha512, packed)
        self._submit(ref.sha512, packed)

    def document(self, content: bytes) -> Blob:
        digest = hashlib.sha512(content).hexdigest()
        self._submit(digest, content)
        return Blob(sha512=digest, size=len(content))

    def entry(self, signed: SignedEntry, key: str) -> None:
        def send() -> int:
            self._mirrors[0].put_entry(key, signed)
            return 0

        self._pending.append(self._pool.submit(send))

    def _submit(self, digest: str, content: bytes) -> None:
        self.size += len(content)
        self._pending.append(self._pool.submit(self._upload, digest, content))
        if len(self._pending) >= _MAX_PENDING:
            self._wait_for_oldest()

    def _wait_for_oldest(self) -> None:
        """Wait for the oldest upload; raises Unreachable when the cache does not answer in time."""
        try:
            self.sent += self._pending.popleft().result(self._timeout)
        except TimeoutError:
            self._cut()
            raise Unreachable(f"{self._name} did not take a piece within {self._timeout:.0f} s.") from None

    def _cut(self) -> None:
        for line in self._lines:
            line.cut()

    def _upload(self, digest: str, content: bytes) -> int:
        mirror = self._mirrors.popleft()
        try:
            if mirror.has(digest):
                self._on_sent(len(content))
                return 0
            mirror.put_blob(digest, content)
        finally:
            self._mirrors.append(mirror)
        self._on_sent(len(content))
        return len(content)
