"""Work that blocks, in threads: of each user so much at a time that no other user waits for it."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from slap.model.errors import SlapError, TooMany, Unreachable

T = TypeVar("T")


@dataclass(frozen=True)
class ThreadLimits:
    """For each user: how many run at a time, how many wait for that, and for how many seconds one waits, and runs."""

    running: int = 2
    waiting: int = 8
    seconds: float = 30


class UserThreads:
    """For one event loop. The threads are daemons: a process that ends does not wait for what they wait for."""

    def __init__(self, limits: ThreadLimits) -> None:
        self._limits = limits
        self._free: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(limits.running))
        self._taken: dict[str, int] = defaultdict(int)  # by what runs or waits

    async def run(self, user: str, work: Callable[[], T]) -> T:
        """What `work` returns, or the SlapError that it raises; TooMany before it began, Unreachable when it takes too long.

        Work that takes too long goes on, and counts as running, until it ends.
        """
        await self._wait(user)
        job = _Job(work, lambda: self._give_back(user))
        threading.Thread(target=job.run, name=f"work for {user}", daemon=True).start()
        try:
            return await asyncio.wait_for(job.outcome, self._limits.seconds)
        except TimeoutError:
            raise Unreachable(f"It takes more than {self._limits.seconds:g} seconds.") from None

    async def _wait(self, user: str) -> None:
        """Take a place among those that run."""
        if self._taken[user] >= self._limits.running + self._limits.waiting:
            raise _too_many(f"{self._limits.running} run, and {self._limits.waiting} wait.")
        self._taken[user] += 1
        is_running = False
        try:
            await asyncio.wait_for(self._free[user].acquire(), self._limits.seconds)
            is_running = True
        except TimeoutError:
            raise _too_many(f"It waited for {self._limits.seconds:g} seconds.") from None
        finally:
            self._taken[user] -= not is_running

    def _give_back(self, user: str) -> None:
        self._free[user].release()
        self._taken[user] -= 1


class _Job(Generic[T]):
    """Work in a thread, whose outcome is a future of the event loop. `on_end` is called there when the work ended."""

    def __init__(self, work: Callable[[], T], on_end: Callable[[], None]) -> None:
        self._work = work
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[T] = self._loop.create_future()

    def run(self) -> None:
        settle: partial[None] = partial(self.outcome.set_exception, RuntimeError("the thread broke off"))
        try:
            settle = partial(self.outcome.set_result, self._work())
        except SlapError as error:
            settle = partial(self.outcome.set_exception, error)
        finally:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self._end, settle)

    def _end(self, settle: Callable[[], None]) -> None:
        self._on_end()
        if not self.outcome.done():
            settle()


def _too_many(details: str) -> TooMany:
    return TooMany("Too much is done for you at the same time.", details, "Wait until that ended, and try again.")
