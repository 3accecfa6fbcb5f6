"""Download one blob of unknown size from one SlapOS cache, with a minimum rate."""

import queue
import threading
import time
from collections.abc import Iterator

from slap.cache.client.connection import CacheConnection
from slap.cache.client.errors import CacheFailure, DownloadFailed
from slap.cache.client.worker import CONNECTION_STALL_SECONDS, MIN_BYTES_PER_SECOND
from slap.model.cache import Sha512
from slap.model.errors import SlapError
from slap.system.network.http_connection import Pace

_POLL_SECONDS = 0.1
_MAX_BUFFERED_PIECES = 16


def stream_legacy_blob(mirror: CacheConnection, sha512: Sha512, limit: int) -> Iterator[bytes]:
    """Yield the bytes of a blob, unverified; raises DownloadFailed. Close the generator to cancel."""
    pieces: queue.Queue[bytes | SlapError] = queue.Queue(_MAX_BUFFERED_PIECES)
    thread = threading.Thread(target=_fetch, args=(mirror, sha512, limit, pieces), name="stream", daemon=True)
    thread.start()
    waiting = _WaitTimer()
    pace = Pace(CONNECTION_STALL_SECONDS * 2, MIN_BYTES_PER_SECOND, lambda: waiting.seconds)
    try:
        while True:
            with waiting:
                piece = _next_piece(pieces, pace, mirror)
            if not piece:
                return
            pace.arrived(len(piece))
            if pace.is_late():
                raise _too_slow(mirror)
            yield piece
    finally:
        mirror.line.cut()
        _drain(pieces)


class _WaitTimer:
    """Measures the time spent waiting for the cache, without the time that the consumer takes."""

    def __init__(self) -> None:
        self._before = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        return self._before + (time.monotonic() - self._since if self._since is not None else 0.0)

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._before, self._since = self.seconds, None


def _too_slow(mirror: CacheConnection) -> DownloadFailed:
    return DownloadFailed("A cache is too slow.", (CacheFailure(mirror.cache, "It sends next to nothing."),))


def _next_piece(pieces: "queue.Queue[bytes | SlapError]", pace: Pace, mirror: CacheConnection) -> bytes:
    while True:
        try:
            piece = pieces.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if pace.is_late():
                raise DownloadFailed(
                    "A cache is too slow.", (CacheFailure(mirror.cache, "It sends next to nothing."),)
                ) from None
            continue
        if isinstance(piece, SlapError):
            raise DownloadFailed("A cache broke off.", (CacheFailure(mirror.cache, piece.brief),))
        return piece


def _fetch(mirror: CacheConnection, sha512: Sha512, limit: int, pieces: "queue.Queue[bytes | SlapError]") -> None:
    try:
        mirror.fetch_slapos_blob(sha512, limit, pieces.put)
    except SlapError as error:
        pieces.put(error)
    else:
        pieces.put(b"")


def _drain(pieces: "queue.Queue[bytes | SlapError]") -> None:
    """Whoever waits to put something more gets room for it, and finds its line cut."""
    while not pieces.empty():
        pieces.get_nowait()
