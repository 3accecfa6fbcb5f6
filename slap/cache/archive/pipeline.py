"""Work of other threads, in order: ahead of who uses its results, or behind who ordered it; never further than some items."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], work: Callable[[Item], Result], threads: int, limit: int
) -> Generator[Result, None, None]:
    """The results of all items in their order; close it to end early, and what runs is waited for."""
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class WriteBehind:
    """One thread that does what it is told, one after the other. Use it in a with block, which ends when all is done.

    What goes wrong is raised by a later `do`, or at the end; nothing that was told after it is done any more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Future[None]] = deque()
        self._last: Future[None] | None = None
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> "WriteBehind":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            while self._waiting and kind is None:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def do(self, work: Callable[[], None]) -> None:
        self._last = self._pool.submit(_after, self._last, work)
        self._waiting.append(self._last)
        if len(self._waiting) >= self._limit:
            self._waiting.popleft().result()


def _after(before: Future[None] | None, work: Callable[[], None]) -> None:
    if before:
        before.result()
    work()
