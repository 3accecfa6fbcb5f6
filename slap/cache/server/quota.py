"""How much is stored, and how much may be."""

import logging
import time
from collections.abc import Callable, Iterable
from threading import Lock

from slap.cache.storage.storage import Stored
from slap.model.errors import StorageFull

log = logging.getLogger(__name__)

# Somebody else removes garbage: before the last word on a full store it is counted again, but not all the time.
_RECOUNT_AFTER = 10.0


class Quota:
    """Counts the bytes of a storage, those on their way included. `count` lists what is stored."""

    def __init__(self, limit: int | None, count: Callable[[], Iterable[Stored]]) -> None:
        self._limit = limit
        self._count = count
        self._lock = Lock()
        self._counting = Lock()
        self._coming = 0
        self._stored = 0
        self._counted_at = float("-inf")
        self.objects = 0

    @property
    def used(self) -> int:
        return self._stored + self._coming

    @property
    def limit(self) -> int | None:
        return self._limit

    @property
    def is_counted(self) -> bool:
        return self._counted_at > float("-inf")

    def reserve(self, size: int) -> None:
        """Make room for bytes that come; raises StorageFull when there is none."""
        if not self._take(size):
            self.recount(unless_within=_RECOUNT_AFTER)
            if not self._take(size):
                raise StorageFull(
                    "This cache is full.",
                    f"{self.used} of {self._limit} bytes are used, and {size} more were to come.",
                    "Who runs it removes garbage (slapos cache gc), or raises `quota`.",
                )

    def settle(self, reserved: int, stored: int | None) -> None:
        """What was reserved has come, or, with None, came to nothing."""
        with self._lock:
            self._coming -= reserved
            self._stored += stored or 0
            self.objects += stored is not None

    def recount(self, unless_within: float = 0.0) -> None:
        """Count what is stored; waits for a count that goes on."""
        with self._counting:
            if time.monotonic() - self._counted_at < unless_within:
                return
            objects, size = 0, 0
            for each in self._count():
                objects, size = objects + 1, size + each.size
            with self._lock:
                self.objects, self._stored, self._counted_at = objects, size, time.monotonic()

    def _take(self, size: int) -> bool:
        with self._lock:
            if self._limit is not None and (not self.is_counted or self.used + size > self._limit):
                return False
            self._coming += size
            return True


class Reservation:
    """What one transfer has reserved."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._taken = 0

    def take(self, size: int) -> None:
        self._quota.reserve(size)
        self._taken += size

    def settle(self, stored: int | None) -> None:
        """What came of it."""
        self._quota.settle(self._taken, stored)
