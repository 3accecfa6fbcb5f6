"""A progress bar for a terminal: what is counted in bytes, on one line that is written again and again."""

import sys
import threading
from types import TracebackType
from typing import TextIO

from slap.cli.output import harmless
from slap.node.cache.messages import size
from slap.system.clock import Clock

_WIDTH = 24
_QUIET = 0.1  # seconds between two looks of it


class Bar:
    """Use it in a with block; only a terminal sees anything of it. It may be told by any thread."""

    def __init__(self, clock: Clock, stream: TextIO | None = None) -> None:
        self._clock = clock
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self._last = 0.0
        self._is_shown = False
        self._counts = self._stream.isatty()

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._counts = False
            self._wipe()

    def __call__(self, label: str, done: int, total: int) -> None:
        """So much of something is done; with a `total` of 0 nobody knows how much there will be."""
        with self._lock:
            if total and done >= total:
                self._wipe()  # what others say of it then begins on an empty line
                return
            now = self._clock.monotonic()
            if not self._counts or (self._is_shown and now - self._last < _QUIET):
                return
            self._last, self._is_shown = now, True
            self._stream.write(f"\r\x1b[K{line(label, done, total)}")
            self._stream.flush()

    def _wipe(self) -> None:
        if self._is_shown:
            self._is_shown = False
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def line(label: str, done: int, total: int) -> str:
    label = harmless(label)
    if not total:
        return f"{label:<24.24}  {size(done)}"
    full = min(_WIDTH, done * _WIDTH // total)
    bar = "█" * full + "░" * (_WIDTH - full)
    return f"{label:<24.24} {bar} {min(100, done * 100 // total):>3} %  {size(done)} of {size(total)}"
