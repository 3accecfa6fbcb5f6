"""In-memory cache with a time to live and a size limit, and a rate limit by name."""

import time
from collections import OrderedDict
from collections.abc import Callable

_OVERHEAD = 256  # bytes of memory for each, beside what it holds


class TtlCache:
    """Byte strings by name, for `seconds`, with at most `size` bytes; the least recently used go first."""

    def __init__(self, size: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = size
        self._seconds = seconds
        self._clock = clock
        self._items: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._size = 0

    def get(self, name: str) -> bytes | None:
        found = self._items.get(name)
        if found is None or found[0] < self._clock():
            return None
        self._items.move_to_end(name)
        return found[1]

    def put(self, name: str, content: bytes) -> None:
        self.forget(name)
        self._items[name] = (self._clock() + self._seconds, content)
        self._size += len(content) + _OVERHEAD
        while self._size > self._limit:
            self.forget(next(iter(self._items)))

    def forget(self, name: str) -> None:
        if found := self._items.pop(name, None):
            self._size -= len(found[1]) + _OVERHEAD


class RateLimit:
    """Allows an action at most `limit` times in `seconds` for each name."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def allows(self, name: str) -> bool:
        """Count an attempt and return whether it is allowed."""
        begun, count = self._windows.pop(name, (float("-inf"), 0))
        if self._clock() - begun > self._seconds:
            begun, count = self._clock(), 0
        self._windows[name] = (begun, count + 1)
        if len(self._windows) > _MAX_NAMES:
            self._windows.popitem(last=False)
        return count < self._limit


_MAX_NAMES = 10_000
