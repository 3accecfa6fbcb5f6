"""Work in threads: of each user so much at a time, and what hangs holds up nobody else."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from slap.model.errors import NotFound, TooMany, Unreachable
from slap.system.serving.user_threads import ThreadLimits, UserThreads

LIMITS = ThreadLimits(running=2, waiting=3, seconds=20)


def fail() -> int:
    raise NotFound("nothing")


def test_what_work_returns_and_raises_is_that_of_the_call() -> None:
    async def check() -> None:
        threads = UserThreads(LIMITS)
        assert await threads.run("alice", lambda: 7) == 7
        with pytest.raises(NotFound):
            await threads.run("alice", fail)
        assert await threads.run("alice", lambda: threading.current_thread().daemon)

    asyncio.run(check())


def test_of_a_user_so_many_run_so_many_wait_and_the_rest_is_refused() -> None:
    async def check() -> None:
        threads, hanging = UserThreads(LIMITS), Hanging()
        tasks = [asyncio.ensure_future(threads.run("alice", hanging.work)) for _ in range(7)]
        await hanging.until(lambda: hanging.begun == 2 and sum(task.done() for task in tasks) == 2)
        assert [type(task.exception()) for task in tasks if task.done()] == [TooMany] * 2
        assert await threads.run("bob", lambda: 7) == 7
        left = [task for task in tasks if not task.done()]
        hanging.end.set()
        assert [await task for task in left] == [7] * 5
        assert (hanging.begun, await threads.run("alice", lambda: 7)) == (5, 7)

    asyncio.run(check())


def test_what_takes_too_long_is_given_up_but_still_counts() -> None:
    async def check() -> None:
        threads, hanging = UserThreads(ThreadLimits(running=1, waiting=1, seconds=0.05)), Hanging()
        with pytest.raises(Unreachable):
            await threads.run("alice", hanging.work)
        with pytest.raises(TooMany):
            await threads.run("alice", lambda: 7)
        hanging.end.set()
        await hanging.until(lambda: hanging.ended == 1)
        assert await threads.run("alice", lambda: 7) == 7

    asyncio.run(check())


class Hanging:
    """Work that goes on until `end` is set."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.begun = self.ended = 0

    def work(self) -> int:
        self.begun += 1
        self.end.wait(20)
        self.ended += 1
        return 7

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)
