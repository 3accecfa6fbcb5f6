"""Bounded, ordered read-ahead and write-behind on background threads."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], work: Callable[[Item], Result], threads: int, limit: int
) -> Generator[Result, None, None]:
    """Yield the results of `work` in the order of the items; closing the generator waits for running calls only."""
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
    """One background thread that runs calls in order. Its with block ends when all calls are done.

    A failure is raised by a later `do` or at the end of the block; calls that were queued after it are not run.
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
