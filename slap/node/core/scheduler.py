"""Runs work by key: keys in parallel, one key never twice at a time, again when touched or due."""

import heapq
import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from slap.system.clock import Clock

Key = TypeVar("Key", bound=Hashable)

log = logging.getLogger(__name__)

_SPARE = 64
SHORTEST = 2.0  # seconds
LONGEST = 3600.0  # seconds


@dataclass(frozen=True)
class Requeue:
    """When to run the work of a key again, and whether it is content until then.

    A single pass ends when all keys are content; what is not (a service that still starts) is waited for.
    """

    seconds: float
    content: bool = True


class Scheduler(Generic[Key]):
    """Starts threads as needed, so a key that hangs blocks only itself."""

    def __init__(self, work: Callable[[Key], Requeue], clock: Clock, threads: int = 256) -> None:
        self._work = work
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads, "work")
        self._changed = threading.Condition()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = 0
        self._running: set[Key] = set()
        self._restless: set[Key] = set()
        self._stopped = False

    def touch(self, keys: Iterable[Key]) -> None:
        """Run the work of these keys as soon as possible, after a run that is under way."""
        with self._changed:
            for key in keys:
                self._restless.add(key)
                if self._due.get(key) != 0.0:
                    self._plan(key, 0.0)
            self._changed.notify_all()

    def run(self) -> None:
        """Work until `stop`."""
        with self._changed:
            while not self._stopped:
                self._start_due()
                self._changed.wait(self._patience())

    def drain(self, seconds: float) -> set[Key]:
        """Run until every key is content or the time is over; returns the keys that are not content."""
        deadline = self._clock.monotonic() + seconds
        with self._changed:
            while self._restless and (left := deadline - self._clock.monotonic()) > 0:
                self._start_due()
                patience = self._patience()
                self._changed.wait(left if patience is None else min(left, patience))
            return set(self._restless)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _plan(self, key: Key, due: float) -> None:
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, key))
        if len(self._heap) > 2 * len(self._due) + _SPARE:  # most of it was overtaken by a touch
            self._heap = [entry for entry in self._heap if not self._is_stale(entry)]
            heapq.heapify(self._heap)

    def _start_due(self) -> None:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due and key not in self._running:
                del self._due[key]
                self._running.add(key)
                self._pool.submit(self._run_one, key)

    def _patience(self) -> float | None:
        """Seconds until the next key is due; running keys are planned when they end."""
        while self._heap and self._is_stale(self._heap[0]):
            heapq.heappop(self._heap)
        return max(0.0, self._heap[0][0] - self._clock.monotonic()) if self._heap else None

    def _is_stale(self, entry: tuple[float, int, Key]) -> bool:
        due, _, key = entry
        return self._due.get(key) != due or key in self._running

    def _run_one(self, key: Key) -> None:
        again = self._attempt(key)
        with self._changed:
            self._running.discard(key)
            if key in self._due:  # touched while it ran
                self._plan(key, self._due[key])
            else:
                (self._restless.discard if again.content else self._restless.add)(key)
                self._plan(key, self._clock.monotonic() + again.seconds)
            self._changed.notify_all()

    def _attempt(self, key: Key) -> Requeue:
        try:
            return self._work(key)
        except Exception:  # the loop of a daemon: a fault in one key's work must not end that of the others
            log.exception("Work on %s failed; it is tried again in 10 s.", key)
            return Requeue(10.0, content=False)


class Slots:
    """Limits concurrent work. Work that takes too long stops counting, since it may hang."""

    def __init__(self, number: int, patience: float, clock: Clock) -> None:
        self._number = number
        self._patience = patience
        self._clock = clock
        self._changed = threading.Condition()
        self._taken: dict[object, float] = {}

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot while the block runs; waits for one."""
        mine = object()
        with self._changed:
            while (wait := self._wait()) > 0:
                self._changed.wait(wait)
            self._taken[mine] = self._clock.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._taken.pop(mine, None)
                self._changed.notify_all()

    def are_plenty(self) -> bool:
        """Whether at most half of the slots are taken."""
        with self._changed:
            return len(self._taken) * 2 <= self._number

    def _wait(self) -> float:
        """Seconds until a slot becomes free because its work took too long."""
        now = self._clock.monotonic()
        counted = sorted(since + self._patience - now for since in self._taken.values() if since + self._patience > now)
        return counted[-self._number] if len(counted) >= self._number else 0.0


def delay(failures: int) -> float:
    """Seconds until the next retry after so many failures in a row."""
    return min(LONGEST, SHORTEST * float(2 ** min(max(failures - 1, 0), 20)))
