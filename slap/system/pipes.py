"""What programs say into pipes, read to the end and kept only in part: a stranger's program may never stop talking."""

import os
import selectors
import time
from collections.abc import Iterable
from typing import IO, Any


class Listening:
    """Reads some pipes side by side; of each, the first `longest` bytes are kept."""

    def __init__(self, pipes: Iterable[IO[Any]], longest: int) -> None:
        self._longest = longest
        self._kept = {pipe: bytearray() for pipe in pipes}
        self._selector = selectors.DefaultSelector()
        for pipe in self._kept:
            self._selector.register(pipe, selectors.EVENT_READ)

    def until(self, deadline: float) -> bool:
        """Read until all pipes are closed at their other ends; whether that was before the deadline (monotonic)."""
        while self._selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self._selector.select(left):
                self._read(key.fileobj)
        return True

    def close(self) -> None:
        self._selector.close()
        for pipe in self._kept:
            pipe.close()

    def texts(self) -> list[str]:
        """What was kept, pipe by pipe."""
        return [kept.decode(errors="replace") for kept in self._kept.values()]

    def _read(self, pipe: Any) -> None:
        part = os.read(pipe.fileno(), 1 << 16)
        if not part:
            self._selector.unregister(pipe)
        kept = self._kept[pipe]
        kept += part[: self._longest - len(kept)]
