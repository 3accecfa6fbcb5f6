"""One blob of unknown size from one cache, piece by piece, as long as it comes fast enough."""

import queue
import threading
import time
from collections.abc import Iterator

from slap.cache.client.mirror import Mirror
from slap.cache.client.seat import LINE_PATIENCE, SLOWEST
from slap.cache.client.trouble import NotFetched, Trouble
from slap.model.cache import Sha512
from slap.model.errors import SlapError
from slap.system.network.http_connection import Pace

_GLANCE = 0.1
_AHEAD = 16


def stream(mirror: Mirror, sha512: Sha512, limit: int) -> Iterator[bytes]:
    """The bytes as they come, which nobody looked at; raises NotFetched. Close it to break off."""
    pieces: queue.Queue[bytes | SlapError] = queue.Queue(_AHEAD)
    thread = threading.Thread(target=_bring, args=(mirror, sha512, limit, pieces), name="stream", daemon=True)
    thread.start()
    waiting = _Waiting()
    pace = Pace(LINE_PATIENCE * 2, SLOWEST, lambda: waiting.seconds)
    try:
        while True:
            with waiting:
                piece = _next(pieces, pace, mirror)
            if not piece:
                return
            pace.arrived(len(piece))
            if pace.is_late():
                raise _too_slow(mirror)
            yield piece
    finally:
        mirror.line.cut()
        _empty(pieces)


class _Waiting:
    """How long was waited for the cache; what the other side does with the pieces takes its own time."""

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


def _too_slow(mirror: Mirror) -> NotFetched:
    return NotFetched("A cache is too slow.", (Trouble(mirror.cache, "It sends next to nothing."),))


def _next(pieces: "queue.Queue[bytes | SlapError]", pace: Pace, mirror: Mirror) -> bytes:
    while True:
        try:
            piece = pieces.get(timeout=_GLANCE)
        except queue.Empty:
            if pace.is_late():
                raise NotFetched(
                    "A cache is too slow.", (Trouble(mirror.cache, "It sends next to nothing."),)
                ) from None
            continue
        if isinstance(piece, SlapError):
            raise NotFetched("A cache broke off.", (Trouble(mirror.cache, piece.brief),))
        return piece


def _bring(mirror: Mirror, sha512: Sha512, limit: int, pieces: "queue.Queue[bytes | SlapError]") -> None:
    try:
        mirror.former_blob(sha512, limit, pieces.put)
    except SlapError as error:
        pieces.put(error)
    else:
        pieces.put(b"")


def _empty(pieces: "queue.Queue[bytes | SlapError]") -> None:
    """Whoever waits to put something more gets room for it, and finds its line cut."""
    while not pieces.empty():
        pieces.get_nowait()
