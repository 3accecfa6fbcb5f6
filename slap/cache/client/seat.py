"""What one worker of a courier does now: which cache it asks, what that is to bring, and how fast it comes."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from slap.cache.client.batch import Batch
from slap.cache.client.mirror import Mirror
from slap.cache.client.settings import Cache
from slap.system.network.http_connection import Pace

MakeMirror = Callable[[Cache], Mirror]

# A line that brings fewer bytes a second than this for so many seconds is cut.
SLOWEST = 32 << 10
LINE_PATIENCE = 1.5


@dataclass
class Seat:
    """For one thread; others look at it, and cut its lines."""

    number: int
    make: MakeMirror
    thread: threading.Thread | None = None
    is_asking: bool = False
    cache: Cache | None = None  # that is asked now, or was the last one
    _lines: dict[str, Mirror] = field(default_factory=dict)
    _pace: Pace = field(default_factory=lambda: Pace(LINE_PATIENCE, SLOWEST))
    _since: float = 0.0
    _until: float | None = None
    _arrived: int = 0

    def ask(self, cache: Cache, batch: Batch, arrived: Callable[[int], None]) -> None:
        """Have a cache bring a batch; raises SlapError."""
        mirror = self._lines.get(cache.blobs)
        if mirror is None:
            mirror = self._lines[cache.blobs] = self.make(cache)

        def take(piece: bytes) -> None:
            self._pace.arrived(len(piece))
            self._arrived += len(piece)
            arrived(len(piece))
            batch.take(piece)

        self._pace.restart()
        self._since, self._until, self._arrived = time.monotonic(), None, 0
        self.cache = cache
        self.is_asking = True
        try:
            mirror.bring(batch, take)
        finally:
            self.is_asking = False
            self._until = time.monotonic()
        batch.end()

    def is_late(self) -> bool:
        return self.is_asking and self._pace.is_late()

    @property
    def seconds(self) -> float:
        """How long it asks, or how long the last time took."""
        return (self._until or time.monotonic()) - self._since

    @property
    def rate(self) -> float:
        """Bytes a second of that."""
        return self._arrived / max(self.seconds, 1e-6)

    def leave(self, cache: Cache) -> None:
        """Ask a cache no more, and break off what goes on; what was not brought comes from the next one."""
        if mirror := self._lines.get(cache.blobs):
            mirror.line.cut()

    def cut(self) -> None:
        for mirror in list(self._lines.values()):
            mirror.line.cut()
