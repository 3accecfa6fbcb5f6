"""One worker of a BlobDownloader: its connections, its current request and the measured rate."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from slap.cache.client.blob_batch import BlobBatch
from slap.cache.client.connection import CacheConnection
from slap.cache.client.settings import Cache
from slap.system.network.http_connection import Pace

MakeConnection = Callable[[Cache], CacheConnection]

# A connection slower than this for so many seconds is closed.
MIN_BYTES_PER_SECOND = 32 << 10
CONNECTION_STALL_SECONDS = 1.5


@dataclass
class DownloadWorker:
    """Requests of one thread; other threads read its rate and close its connections."""

    number: int
    make: MakeConnection
    thread: threading.Thread | None = None
    is_asking: bool = False
    cache: Cache | None = None  # that is asked now, or was the last one
    _lines: dict[str, CacheConnection] = field(default_factory=dict)
    _pace: Pace = field(default_factory=lambda: Pace(CONNECTION_STALL_SECONDS, MIN_BYTES_PER_SECOND))
    _since: float = 0.0
    _until: float | None = None
    _arrived: int = 0

    def ask(self, cache: Cache, batch: BlobBatch, arrived: Callable[[int], None]) -> None:
        """Download a batch from a cache; raises SlapError."""
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
        """Duration of the current request, or of the last one."""
        return (self._until or time.monotonic()) - self._since

    @property
    def rate(self) -> float:
        """Bytes per second of the current request, or of the last one."""
        return self._arrived / max(self.seconds, 1e-6)

    def leave(self, cache: Cache) -> None:
        """Close the connection to a cache; blobs that were not received are requested from the next one."""
        if mirror := self._lines.get(cache.blobs):
            mirror.line.cut()

    def cut(self) -> None:
        for mirror in list(self._lines.values()):
            mirror.line.cut()
