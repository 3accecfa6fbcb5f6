"""Brings blobs from several caches at once, a bounded way ahead of who takes them; a cache that is late or lies is left."""

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
from slap.system.network.line import Pace

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
    """How many bytes came over the network, and how many were here."""

    fetched: int = 0
    reused: int = 0

    @property
    def all(self) -> int:
        return self.fetched + self.reused


class BlobDownloader:
    """Use it in a with block. `take` gives blobs in about the order in which they were wanted, to any thread."""

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
            worker.thread = threading.Thread(target=self._work, args=(worker,), name="courier", daemon=True)
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
        """A blob, checked; raises NotFetched when no cache gives it in time."""
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
        """Some blobs are taken more than once: those are brought again, mostly from the shelf."""
        known = wanted.sha512 in self._ready or wanted in self._in_flight
        if not known and wanted not in self._urgent:
            with suppress(ValueError):  # mostly it is not there any more
                self._queue.remove(wanted)
            self._urgent.append(wanted)
            self._room.notify()

    def _wait(self) -> None:
        """For a moment. Only while caches are asked that is their time: a disk may stall, too."""
        before = time.monotonic()
        self._ready_changed.wait(_POLL_SECONDS)
        now = time.monotonic()
        if any(worker.is_asking for worker in self._workers):
            self._waited += now - max(before, self._last_check)
        self._last_check = now

    def _check_progress(self, awaited: DownloadWorker | None, seconds: float) -> None:
        """Cut what is late. Workers whose line is cut go on with another cache."""
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
        """What is waited for comes from a cache that is slower by far than another one: that one stands in for it."""
        slow = awaited.cache
        others = [rate for cache, rate in self._rates.items() if cache != slow and cache not in self._troubles]
        if slow and others and max(others) > _SLOWER_FACTOR * awaited.rate:
            self._drop_cache(slow, f"It sends {awaited.rate / 1024:.0f} KiB/s, much less than another cache.")

    def _drop_cache(self, cache: Cache, why: str) -> None:
        self._troubles.setdefault(cache, why)
        for worker in self._workers:
            worker.leave(cache)

    def _estimate(self, rate: float) -> float:
        """Seconds that the rest takes, when as much of it is here as was until now."""
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
        """The next blobs to bring, as soon as there is room for them; none when it is over."""
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
        if not wanted.is_it(content):
            self._chunk_store.drop(wanted.sha512)
            return False
        self._deliver(wanted, content)
        self.counted.reused += wanted.size
        return True

    def _caches_of(self, worker: DownloadWorker) -> Iterator[Cache]:
        """Those to ask, one after the other; each worker begins with another one."""
        shift = worker.number % max(1, len(self._caches))
        for cache in (*self._caches[shift:], *self._caches[:shift]):
            if cache not in self._troubles:
                yield cache

    def _fetch(self, worker: DownloadWorker, missing: list[BlobRef]) -> None:
        """From the first cache that has them, and what it does not give from others."""
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
        """One that lacks some of the blobs may have all others; one that has none of them is left."""
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
        """With a reason that is the fault of all that are asked now."""
        for worker in self._workers:
            if why and worker.is_asking and worker.cache:
                self._troubles.setdefault(worker.cache, why)
        if not self._failed:
            lacking = (CacheFailure(*each) for each in self._incomplete_caches.items() if each[0] not in self._troubles)
            self._failed = DownloadFailed("No cache gave all of it.", (*self.troubles, *lacking))
        self._ready_changed.notify_all()


_SLOW = f"It sends less than {MIN_BYTES_PER_SECOND >> 10} KiB/s."
_LACKING = "It has an entry, but not all of the blobs."
