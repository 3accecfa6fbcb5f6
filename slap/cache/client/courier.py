"""Brings blobs from several caches at once, a bounded way ahead of who takes them; a cache that is late or lies is left."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from slap.cache.client.batch import Batch, Content, Wanted
from slap.cache.client.mirror import Mirror
from slap.cache.client.settings import Cache
from slap.cache.client.shelf import Packer, Shelf
from slap.cache.client.trouble import NotFetched, Trouble
from slap.model.cache import MOST_AT_ONCE, Sha512
from slap.model.errors import SlapError
from slap.system.network.line import Pace

# A line that brings fewer bytes a second than this for so many seconds is cut; all of them together have more time.
SLOWEST = 32 << 10
LINE_PATIENCE = 1.5
PATIENCE = 3.2
_GLANCE = 0.05
_WORKERS = 4
_BATCH = 2 << 20  # bytes of an answer, from which on it has enough
_MOST_HELD = 16 << 20  # bytes that were fetched, and that nobody took yet

Arrived = Callable[[int], None]
MakeMirror = Callable[[Cache], Mirror]


@dataclass
class Counted:
    """How many bytes came over the network, and how many were here."""

    fetched: int = 0
    reused: int = 0

    @property
    def all(self) -> int:
        return self.fetched + self.reused


@dataclass
class _Seat:
    """What one worker does now: of which cache, and how fast that goes."""

    number: int
    packer: Packer
    pace: Pace = field(default_factory=lambda: Pace(LINE_PATIENCE, SLOWEST))
    thread: threading.Thread | None = None
    mirror: Mirror | None = None  # while it is being asked
    lines: dict[str, Mirror] = field(default_factory=dict)


class Courier:
    """Use it in a with block. `take` gives blobs in about the order in which they were wanted, to any thread."""

    def __init__(
        self,
        wanted: Iterable[Wanted],
        caches: Sequence[Cache],
        make: MakeMirror,
        shelf: Shelf,
        arrived: Arrived = lambda size: None,
    ) -> None:
        self.counted = Counted()
        self._queue = deque(dict.fromkeys(wanted))
        self._urgent: deque[Wanted] = deque()  # somebody waits for it now: brought whether there is room or not
        self._caches = caches
        self._make = make
        self._shelf = shelf
        self._arrived = arrived
        # Two conditions of one lock: whoever waits is only woken for what it waits for.
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)  # something is ready, or nothing will be
        self._room = threading.Condition(self._lock)  # there is something to bring, and room for it, or it is over
        self._ready: dict[Sha512, Content] = {}
        self._coming: set[Sha512] = set()
        self._held = 0
        self._troubles: dict[Cache, str] = {}
        self._failed: NotFetched | None = None
        self._closed = False
        self._pace = Pace(PATIENCE, SLOWEST)
        self._seats = [_Seat(number, Packer(shelf)) for number in range(_WORKERS)]

    def __enter__(self) -> "Courier":
        for seat in self._seats:
            seat.thread = threading.Thread(target=self._work, args=(seat,), name="courier", daemon=True)
            seat.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            self._room.notify_all()
        for seat in self._seats:
            for mirror in list(seat.lines.values()):
                mirror.line.cut()
            if seat.thread and not seat.mirror:  # it puts something on the shelf, or nothing holds it
                seat.thread.join(_GLANCE * 20)

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        return tuple(Trouble(cache, why) for cache, why in self._troubles.items())

    def take(self, wanted: Wanted) -> Content:
        """A blob, checked; raises NotFetched when no cache gives it in time."""
        with self._lock:
            self._want(wanted)
            self._pace.restart()
            while wanted.sha512 not in self._ready:
                if self._failed:
                    raise self._failed
                self._came.wait(_GLANCE)
                self._watch()
            content = self._ready.pop(wanted.sha512)
            self._held -= wanted.size
            if self._queue and self._held <= _MOST_HELD:
                self._room.notify()
        return content

    def _want(self, wanted: Wanted) -> None:
        """Some blobs are taken more than once: those are brought again, mostly from the shelf."""
        known = wanted.sha512 in self._ready or wanted.sha512 in self._coming
        if not known and wanted not in self._urgent:
            with suppress(ValueError):  # mostly it is not there any more
                self._queue.remove(wanted)
            self._urgent.append(wanted)
            self._room.notify()

    def _watch(self) -> None:
        """Cut what is late. Workers whose line is cut go on with another cache."""
        for seat in self._seats:
            if seat.mirror and seat.pace.is_late():
                self._troubles.setdefault(seat.mirror.cache, _SLOW)
                seat.mirror.line.cut()
        if self._pace.is_late():
            self._fail(*(seat.mirror.cache for seat in self._seats if seat.mirror))

    def _work(self, seat: _Seat) -> None:
        while batch := self._claim():
            missing = [each for each in batch if not self._is_here(each)]
            if missing:
                self._bring(seat, missing)

    def _claim(self) -> list[Wanted]:
        """The next blobs to bring, as soon as there is room for them; none when it is over."""
        with self._lock:
            while not (self._closed or self._urgent or (self._queue and self._held <= _MOST_HELD)):
                self._room.wait()
            if self._closed:
                return []
            batch = [self._urgent.popleft()] if self._urgent else self._next_batch()
            self._coming.update(each.sha512 for each in batch)
            self._held += sum(each.size for each in batch)
            return batch

    def _next_batch(self) -> list[Wanted]:
        """As many as all workers get, but no more than are asked for or held at once."""
        count = min(MOST_AT_ONCE, max(1, len(self._queue) // _WORKERS))
        batch = [self._queue.popleft()]
        while len(batch) < count and sum(each.size for each in batch) < _BATCH:
            batch.append(self._queue.popleft())
        return batch

    def _is_here(self, wanted: Wanted) -> bool:
        content = self._shelf.get(wanted.sha512)
        if content is None:
            return False
        if not wanted.is_it(content):
            self._shelf.drop(wanted.sha512)
            return False
        self._deliver(wanted, content)
        self.counted.reused += wanted.size
        return True

    def _bring(self, seat: _Seat, missing: list[Wanted]) -> None:
        """From the first cache that has them, and what it does not give from others; each worker begins with another one."""
        shift = seat.number % max(1, len(self._caches))
        for cache in (*self._caches[shift:], *self._caches[:shift]):
            if cache in self._troubles:
                continue
            batch = Batch(missing, partial(self._brought, seat))
            try:
                self._ask(seat, cache, batch)
            except SlapError as error:
                if self._closed:
                    return
                self._troubles.setdefault(cache, error.brief)
            finally:
                seat.packer.flush()
            missing = list(batch.missing)
            if not missing:
                return
        with self._lock:
            self._fail()

    def _ask(self, seat: _Seat, cache: Cache, batch: Batch) -> None:
        mirror = seat.lines.get(cache.blobs)
        if mirror is None:
            mirror = seat.lines[cache.blobs] = self._make(cache)

        def take(piece: bytes) -> None:
            seat.pace.arrived(len(piece))
            self._pace.arrived(len(piece))
            batch.take(piece)

        seat.pace.restart()
        seat.mirror = mirror
        try:
            mirror.blobs(list(batch.missing), take)
        finally:
            seat.mirror = None
        batch.end()

    def _brought(self, seat: _Seat, wanted: Wanted, content: Content) -> None:
        self._deliver(wanted, content)
        self.counted.fetched += wanted.size
        seat.packer.put(wanted.sha512, content)

    def _deliver(self, wanted: Wanted, content: Content) -> None:
        with self._lock:
            self._coming.discard(wanted.sha512)
            self._ready[wanted.sha512] = content
            self._came.notify_all()
        self._arrived(wanted.size)

    def _fail(self, *slow: Cache) -> None:
        for cache in slow:
            self._troubles.setdefault(cache, _SLOW)
        if not self._failed:
            self._failed = NotFetched("No cache gave all of it.", self.troubles)
        self._came.notify_all()


_SLOW = f"It sends less than {SLOWEST >> 10} KiB/s."
