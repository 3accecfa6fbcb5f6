"""Download blobs from several caches in parallel, with bounded read-ahead; drop caches that are slow or send wrong bytes."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from slap.cache.client.blob_batch import BlobBatch, BlobRef, Content
from slap.cache.client.chunk_store import ChunkStore
from slap.cache.client.errors import CacheFailure, DownloadFailed
from slap.cache.client.settings import Cache
from slap.cache.client.worker import MIN_BYTES_PER_SECOND, DownloadWorker, MakeConnection
from slap.model.cache import MOST_AT_ONCE, Sha512
from slap.model.errors import SlapError
from slap.system.network.http_connection import Pace

# All lines together have more time than one of them to bring SLOWEST. Where the rest would take longer than LONGEST, for
# most is not here, and they bring less than POOR, it is better to build.
DOWNLOAD_STALL_SECONDS = 3.2
LOW_BYTES_PER_SECOND = 256 << 10
MAX_REMAINING_SECONDS = 600.0
# A cache is left, when others are so many times as fast, and its blob was waited for so many seconds.
_SLOWER_FACTOR = 2
_MIN_WAIT_SECONDS = 0.5
_POLL_SECONDS = 0.05
_WORKERS = 4
_MAX_BATCH_BYTES = 2 << 20  # bytes of an answer, from which on it has enough
_FIRST_BATCH_BYTES = 256 << 10  # the same, of a cache that nobody knows yet
_BATCH_SECONDS = (
    0.5  # seconds that an answer should take: so much is lost of it at most, and others can bring the rest meanwhile
)
_MAX_BUFFERED_BYTES = 8 << 20  # bytes that were fetched, and that nobody took yet

OnProgress = Callable[[int], None]


@dataclass
class ByteCounts:
    """Bytes from the network, and bytes from the local store."""

    fetched: int = 0
    reused: int = 0

    @property
    def all(self) -> int:
        return self.fetched + self.reused


class BlobDownloader:
    """Downloads blobs in background threads while its with block lasts. `take` returns them, to any thread."""

    def __init__(
        self,
        wanted: Iterable[BlobRef],
        caches: Sequence[Cache],
        make: MakeConnection,
        chunk_store: ChunkStore,
        on_progress: OnProgress = lambda size: None,
    ) -> None:
        self.counted = ByteCounts()
        self._queue = deque(dict.fromkeys(wanted))
        self._left = sum(each.size for each in self._queue)
        self._urgent: deque[BlobRef] = deque()  # somebody waits for it now: brought whether there is room or not
        self._caches = caches
        self._chunk_store = chunk_store
        self._on_progress = on_progress
        # Two conditions of one lock: whoever waits is only woken for what it waits for.
        self._lock = threading.Lock()
        self._ready_changed = threading.Condition(self._lock)  # something is ready, or nothing will be
        self._room = threading.Condition(self._lock)  # there is something to bring, and room for it, or it is over
        self._ready: dict[Sha512, Content] = {}
        self._in_flight: dict[BlobRef, DownloadWorker] = {}
        self._buffered = 0
        self._rates: dict[Cache, float] = {}  # of a line to each cache that brought something, at last
        self._troubles: dict[Cache, str] = {}
        self._incomplete_caches: dict[Cache, str] = {}  # those that have most of it
        self._failed: DownloadFailed | None = None
        self._closed = False
        self._waited = 0.0  # seconds that somebody waited while caches were asked
        self._last_check = 0.0
        self._paces = tuple(
            Pace(DOWNLOAD_STALL_SECONDS, least, lambda: self._waited)
            for least in (MIN_BYTES_PER_SECOND, LOW_BYTES_PER_SECOND)
        )
        self._workers = [DownloadWorker(number, make) for number in range(_WORKERS)]
        self._running = _WORKERS

    def __enter__(self) -> "BlobDownloader":
        for worker in self._workers:
            worker.thread = threading.Thread(target=self._work, args=(worker,), name="blob-downloader", daemon=True)
            worker.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            self._room.notify_all()
        for worker in self._workers:
            asks = worker.is_asking
            worker.cut()
            if worker.thread and not asks:  # it puts something on the shelf, or nothing holds it
                worker.thread.join(_POLL_SECONDS * 20)

    @property
    def troubles(self) -> tuple[CacheFailure, ...]:
        return tuple(CacheFailure(cache, why) for cache, why in self._troubles.items())

    def take(self, wanted: BlobRef) -> Content:
        """Return a verified blob; raises DownloadFailed when no cache delivers it in time."""
        began = time.monotonic()
        with self._lock:
            self._request(wanted)
            while wanted.sha512 not in self._ready:
                if self._failed:
                    raise self._failed
                self._wait()
                self._check_progress(self._in_flight.get(wanted), time.monotonic() - began)
            content = self._ready.pop(wanted.sha512)
            self._buffered -= wanted.size
            if self._queue and self._buffered <= _MAX_BUFFERED_BYTES:
                self._room.notify()
        return content

    def _request(self, wanted: BlobRef) -> None:
        """Queue a blob first unless it is ready or in flight; a blob that is taken again is mostly in the local store."""
        known = wanted.sha512 in self._ready or wanted in self._in_flight
        if not known and wanted not in self._urgent:
            with suppress(ValueError):  # mostly it is not there any more
                self._queue.remove(wanted)
            self._urgent.append(wanted)
            self._room.notify()

    def _wait(self) -> None:
        """Wait briefly for a blob; the time counts against the caches only while a request to one is open."""
        before = time.monotonic()
        self._ready_changed.wait(_POLL_SECONDS)
        now = time.monotonic()
        if any(worker.is_asking for worker in self._workers):
            self._waited += now - max(before, self._last_check)
        self._last_check = now

    def _check_progress(self, awaited: DownloadWorker | None, seconds: float) -> None:
        """Drop caches that stall or are much slower than others, and fail when the remaining download would take too long."""
        for worker in self._workers:
            if worker.is_late() and worker.cache:
                self._drop_cache(worker.cache, _SLOW)
        if awaited and awaited.is_asking and min(seconds, awaited.seconds) > _MIN_WAIT_SECONDS:
            self._compare(awaited)
        least, poor = self._paces
        if least.is_late():
            self._fail(_SLOW)
        elif poor.is_late() and (rest := self._estimate(poor.rate)) > MAX_REMAINING_SECONDS:
            self._fail(f"It sends {poor.rate / 1024:.0f} KiB/s: the rest would take {rest / 60:.0f} minutes.")

    def _compare(self, awaited: DownloadWorker) -> None:
        """Drop the cache of the awaited blob when another cache is much faster."""
        slow = awaited.cache
        others = [rate for cache, rate in self._rates.items() if cache != slow and cache not in self._troubles]
        if slow and others and max(others) > _SLOWER_FACTOR * awaited.rate:
            self._drop_cache(slow, f"It sends {awaited.rate / 1024:.0f} KiB/s, much less than another cache.")

    def _drop_cache(self, cache: Cache, why: str) -> None:
        self._troubles.setdefault(cache, why)
        for worker in self._workers:
            worker.leave(cache)

    def _estimate(self, rate: float) -> float:
        """Return the estimated seconds for the rest, if the share of locally stored bytes stays the same."""
        share = self.counted.fetched / self.counted.all if self.counted.all else 1.0
        return self._left * share / max(rate, 1.0)

    def _work(self, worker: DownloadWorker) -> None:
        try:
            while batch := self._next_blobs(worker):
                here = self._chunk_store.get([each.sha512 for each in batch])
                missing = [each for each in batch if not self._deliver_stored(each, here.get(each.sha512))]
                if missing:
                    self._fetch(worker, missing)
        finally:
            self._on_stopped(worker)

    def _on_stopped(self, worker: DownloadWorker) -> None:
        """Before it is over a worker stops only by a mistake of ours, met with what a cache sent: others do without that."""
        with self._lock:
            self._running -= 1
            if self._closed:
                return
            if worker.cache:
                self._drop_cache(worker.cache, "Nothing can be made of what it sends.")
            for lost in [each for each, by in self._in_flight.items() if by is worker]:
                del self._in_flight[lost]
                self._buffered -= lost.size
                self._urgent.append(lost)
            self._room.notify_all()
            if not self._running:
                self._fail("")

    def _next_blobs(self, worker: DownloadWorker) -> list[BlobRef]:
        """Return the next blobs to download, once the buffer has room for them; none after the end."""
        with self._lock:
            while not (self._closed or self._urgent or (self._queue and self._buffered <= _MAX_BUFFERED_BYTES)):
                self._room.wait()
            if self._closed:
                return []
            batch = [self._urgent.popleft()] if self._urgent else self._next_batch(worker)
            self._in_flight.update((each, worker) for each in batch)
            self._buffered += sum(each.size for each in batch)
            return batch

    def _next_batch(self, worker: DownloadWorker) -> list[BlobRef]:
        """As many as all workers get, but no more than are asked for or held at once, and than come in time."""
        count = min(MOST_AT_ONCE, max(1, len(self._queue) // _WORKERS))
        first = next(self._caches_of(worker), None)
        size = (
            min(_MAX_BATCH_BYTES, int(self._rates[first] * _BATCH_SECONDS))
            if first in self._rates
            else _FIRST_BATCH_BYTES
        )
        batch = [self._queue.popleft()]
        while len(batch) < count and sum(each.size for each in batch) + self._queue[0].size <= size:
            batch.append(self._queue.popleft())
        return batch

    def _deliver_stored(self, wanted: BlobRef, content: Content | None) -> bool:
        if content is None:
            return False
        if not wanted.matches(content):
            self._chunk_store.drop(wanted.sha512)
            return False
        self._deliver(wanted, content)
        self.counted.reused += wanted.size
        return True

    def _caches_of(self, worker: DownloadWorker) -> Iterator[Cache]:
        """Yield the usable caches; each worker starts with a different one."""
        shift = worker.number % max(1, len(self._caches))
        for cache in (*self._caches[shift:], *self._caches[:shift]):
            if cache not in self._troubles:
                yield cache

    def _fetch(self, worker: DownloadWorker, missing: list[BlobRef]) -> None:
        """Download blobs from the first usable cache, and those that it does not deliver from the next ones."""
        for cache in self._caches_of(worker):
            kept: list[tuple[Sha512, Content]] = []
            batch = BlobBatch(missing, partial(self._store_fetched, kept))
            try:
                worker.ask(cache, batch, self._count_bytes)
            except SlapError as error:
                if self._closed:
                    return
                with self._lock:
                    self._troubles.setdefault(cache, error.brief)
            finally:
                self._chunk_store.put(kept)
            with self._lock:
                self._record_result(worker, cache, batch)
            missing = [*batch.missing, *batch.absent]
            if not missing:
                return
        with self._lock:
            self._fail("")

    def _record_result(self, worker: DownloadWorker, cache: Cache, batch: BlobBatch) -> None:
        """Record the rate of a cache; drop one that lacked blobs and never delivered any."""
        if rate := worker.rate:
            self._rates[cache] = rate
        if batch.absent:
            (self._incomplete_caches if cache in self._rates else self._troubles).setdefault(cache, _LACKING)

    def _count_bytes(self, size: int) -> None:
        for pace in self._paces:
            pace.arrived(size)

    def _store_fetched(self, kept: list[tuple[Sha512, Content]], wanted: BlobRef, content: Content) -> None:
        self._deliver(wanted, content)
        self.counted.fetched += wanted.size
        kept.append((wanted.sha512, content))

    def _deliver(self, wanted: BlobRef, content: Content) -> None:
        with self._lock:
            self._in_flight.pop(wanted, None)
            self._ready[wanted.sha512] = content
            self._left -= wanted.size
            self._ready_changed.notify_all()
        self._on_progress(wanted.size)

    def _fail(self, why: str) -> None:
        """Fail the download; a reason is recorded against every cache that has an open request."""
        for worker in self._workers:
            if why and worker.is_asking and worker.cache:
                self._troubles.setdefault(worker.cache, why)
        if not self._failed:
            lacking = (CacheFailure(*each) for each in self._incomplete_caches.items() if each[0] not in self._troubles)
            self._failed = DownloadFailed("No cache gave all of it.", (*self.troubles, *lacking))
        self._ready_changed.notify_all()


_SLOW = f"It sends less than {MIN_BYTES_PER_SECOND >> 10} KiB/s."
_LACKING = "It has an entry, but not all of the blobs."
