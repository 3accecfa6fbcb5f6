"""Brings blobs from several caches at once, a bounded way ahead of who takes them; a cache that is late or lies is left."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from slap.cache.client.batch import Batch, Content, Wanted
from slap.cache.client.seat import SLOWEST, MakeMirror, Seat
from slap.cache.client.settings import Cache
from slap.cache.client.shelf import Shelf
from slap.cache.client.trouble import NotFetched, Trouble
from slap.model.cache import MOST_AT_ONCE, Sha512
from slap.model.errors import SlapError
from slap.system.network.http_connection import Pace

# All lines together have more time than one of them to bring SLOWEST. Where the rest would take longer than LONGEST, for
# most is not here, and they bring less than POOR, it is better to build.
PATIENCE = 3.2
POOR = 256 << 10
LONGEST = 600.0
# A cache is left, when others are so many times as fast, and its blob was waited for so many seconds.
_TIMES = 2
_WAIT = 0.5
_GLANCE = 0.05
_WORKERS = 4
_BATCH = 2 << 20  # bytes of an answer, from which on it has enough
_FIRST = 256 << 10  # the same, of a cache that nobody knows yet
_AHEAD = (
    0.5  # seconds that an answer should take: so much is lost of it at most, and others can bring the rest meanwhile
)
_MOST_HELD = 8 << 20  # bytes that were fetched, and that nobody took yet

Arrived = Callable[[int], None]


@dataclass
class Counted:
    """How many bytes came over the network, and how many were here."""

    fetched: int = 0
    reused: int = 0

    @property
    def all(self) -> int:
        return self.fetched + self.reused


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
        self._left = sum(each.size for each in self._queue)
        self._urgent: deque[Wanted] = deque()  # somebody waits for it now: brought whether there is room or not
        self._caches = caches
        self._shelf = shelf
        self._arrived = arrived
        # Two conditions of one lock: whoever waits is only woken for what it waits for.
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)  # something is ready, or nothing will be
        self._room = threading.Condition(self._lock)  # there is something to bring, and room for it, or it is over
        self._ready: dict[Sha512, Content] = {}
        self._coming: dict[Wanted, Seat] = {}
        self._held = 0
        self._rates: dict[Cache, float] = {}  # of a line to each cache that brought something, at last
        self._troubles: dict[Cache, str] = {}
        self._lacking: dict[Cache, str] = {}  # those that have most of it
        self._failed: NotFetched | None = None
        self._closed = False
        self._waited = 0.0  # seconds that somebody waited while caches were asked
        self._looked = 0.0
        self._paces = tuple(Pace(PATIENCE, least, lambda: self._waited) for least in (SLOWEST, POOR))
        self._seats = [Seat(number, make) for number in range(_WORKERS)]
        self._at_work = _WORKERS

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
            asks = seat.is_asking
            seat.cut()
            if seat.thread and not asks:  # it puts something on the shelf, or nothing holds it
                seat.thread.join(_GLANCE * 20)

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        return tuple(Trouble(cache, why) for cache, why in self._troubles.items())

    def take(self, wanted: Wanted) -> Content:
        """A blob, checked; raises NotFetched when no cache gives it in time."""
        began = time.monotonic()
        with self._lock:
            self._want(wanted)
            while wanted.sha512 not in self._ready:
                if self._failed:
                    raise self._failed
                self._wait()
                self._watch(self._coming.get(wanted), time.monotonic() - began)
            content = self._ready.pop(wanted.sha512)
            self._held -= wanted.size
            if self._queue and self._held <= _MOST_HELD:
                self._room.notify()
        return content

    def _want(self, wanted: Wanted) -> None:
        """Some blobs are taken more than once: those are brought again, mostly from the shelf."""
        known = wanted.sha512 in self._ready or wanted in self._coming
        if not known and wanted not in self._urgent:
            with suppress(ValueError):  # mostly it is not there any more
                self._queue.remove(wanted)
            self._urgent.append(wanted)
            self._room.notify()

    def _wait(self) -> None:
        """For a moment. Only while caches are asked that is their time: a disk may stall, too."""
        before = time.monotonic()
        self._came.wait(_GLANCE)
        now = time.monotonic()
        if any(seat.is_asking for seat in self._seats):
            self._waited += now - max(before, self._looked)
        self._looked = now

    def _watch(self, awaited: Seat | None, seconds: float) -> None:
        """Cut what is late. Workers whose line is cut go on with another cache."""
        for seat in self._seats:
            if seat.is_late() and seat.cache:
                self._leave(seat.cache, _SLOW)
        if awaited and awaited.is_asking and min(seconds, awaited.seconds) > _WAIT:
            self._compare(awaited)
        least, poor = self._paces
        if least.is_late():
            self._fail(_SLOW)
        elif poor.is_late() and (rest := self._estimate(poor.rate)) > LONGEST:
            self._fail(f"It sends {poor.rate / 1024:.0f} KiB/s: the rest would take {rest / 60:.0f} minutes.")

    def _compare(self, awaited: Seat) -> None:
        """What is waited for comes from a cache that is slower by far than another one: that one stands in for it."""
        slow = awaited.cache
        others = [rate for cache, rate in self._rates.items() if cache != slow and cache not in self._troubles]
        if slow and others and max(others) > _TIMES * awaited.rate:
            self._leave(slow, f"It sends {awaited.rate / 1024:.0f} KiB/s, much less than another cache.")

    def _leave(self, cache: Cache, why: str) -> None:
        self._troubles.setdefault(cache, why)
        for seat in self._seats:
            seat.leave(cache)

    def _estimate(self, rate: float) -> float:
        """Seconds that the rest takes, when as much of it is here as was until now."""
        share = self.counted.fetched / self.counted.all if self.counted.all else 1.0
        return self._left * share / max(rate, 1.0)

    def _work(self, seat: Seat) -> None:
        try:
            while batch := self._claim(seat):
                here = self._shelf.get([each.sha512 for each in batch])
                missing = [each for each in batch if not self._is_here(each, here.get(each.sha512))]
                if missing:
                    self._bring(seat, missing)
        finally:
            self._stopped(seat)

    def _stopped(self, seat: Seat) -> None:
        """Before it is over a worker stops only by a mistake of ours, met with what a cache sent: others do without that."""
        with self._lock:
            self._at_work -= 1
            if self._closed:
                return
            if seat.cache:
                self._leave(seat.cache, "Nothing can be made of what it sends.")
            for lost in [each for each, by in self._coming.items() if by is seat]:
                del self._coming[lost]
                self._held -= lost.size
                self._urgent.append(lost)
            self._room.notify_all()
            if not self._at_work:
                self._fail("")

    def _claim(self, seat: Seat) -> list[Wanted]:
        """The next blobs to bring, as soon as there is room for them; none when it is over."""
        with self._lock:
            while not (self._closed or self._urgent or (self._queue and self._held <= _MOST_HELD)):
                self._room.wait()
            if self._closed:
                return []
            batch = [self._urgent.popleft()] if self._urgent else self._next_batch(seat)
            self._coming.update((each, seat) for each in batch)
            self._held += sum(each.size for each in batch)
            return batch

    def _next_batch(self, seat: Seat) -> list[Wanted]:
        """As many as all workers get, but no more than are asked for or held at once, and than come in time."""
        count = min(MOST_AT_ONCE, max(1, len(self._queue) // _WORKERS))
        first = next(self._caches_of(seat), None)
        size = min(_BATCH, int(self._rates[first] * _AHEAD)) if first in self._rates else _FIRST
        batch = [self._queue.popleft()]
        while len(batch) < count and sum(each.size for each in batch) + self._queue[0].size <= size:
            batch.append(self._queue.popleft())
        return batch

    def _is_here(self, wanted: Wanted, content: Content | None) -> bool:
        if content is None:
            return False
        if not wanted.is_it(content):
            self._shelf.drop(wanted.sha512)
            return False
        self._deliver(wanted, content)
        self.counted.reused += wanted.size
        return True

    def _caches_of(self, seat: Seat) -> Iterator[Cache]:
        """Those to ask, one after the other; each worker begins with another one."""
        shift = seat.number % max(1, len(self._caches))
        for cache in (*self._caches[shift:], *self._caches[:shift]):
            if cache not in self._troubles:
                yield cache

    def _bring(self, seat: Seat, missing: list[Wanted]) -> None:
        """From the first cache that has them, and what it does not give from others."""
        for cache in self._caches_of(seat):
            kept: list[tuple[Sha512, Content]] = []
            batch = Batch(missing, partial(self._brought, kept))
            try:
                seat.ask(cache, batch, self._flowed)
            except SlapError as error:
                if self._closed:
                    return
                with self._lock:
                    self._troubles.setdefault(cache, error.brief)
            finally:
                self._shelf.put(kept)
            with self._lock:
                self._judge(seat, cache, batch)
            missing = [*batch.missing, *batch.absent]
            if not missing:
                return
        with self._lock:
            self._fail("")

    def _judge(self, seat: Seat, cache: Cache, batch: Batch) -> None:
        """One that lacks some of the blobs may have all others; one that has none of them is left."""
        if rate := seat.rate:
            self._rates[cache] = rate
        if batch.absent:
            (self._lacking if cache in self._rates else self._troubles).setdefault(cache, _LACKING)

    def _flowed(self, size: int) -> None:
        for pace in self._paces:
            pace.arrived(size)

    def _brought(self, kept: list[tuple[Sha512, Content]], wanted: Wanted, content: Content) -> None:
        self._deliver(wanted, content)
        self.counted.fetched += wanted.size
        kept.append((wanted.sha512, content))

    def _deliver(self, wanted: Wanted, content: Content) -> None:
        with self._lock:
            self._coming.pop(wanted, None)
            self._ready[wanted.sha512] = content
            self._left -= wanted.size
            self._came.notify_all()
        self._arrived(wanted.size)

    def _fail(self, why: str) -> None:
        """With a reason that is the fault of all that are asked now."""
        for seat in self._seats:
            if why and seat.is_asking and seat.cache:
                self._troubles.setdefault(seat.cache, why)
        if not self._failed:
            lacking = (Trouble(*each) for each in self._lacking.items() if each[0] not in self._troubles)
            self._failed = NotFetched("No cache gave all of it.", (*self.troubles, *lacking))
        self._came.notify_all()


_SLOW = f"It sends less than {SLOWEST >> 10} KiB/s."
_LACKING = "It has an entry, but not all of the blobs."
