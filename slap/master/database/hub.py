"""Who waits for what: a waiting request costs one future in a dictionary, no thread and no connection."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TypeVar

Answer = TypeVar("Answer")

# Nobody waits longer than this in one request, so that a dead client is forgotten and proxies stay patient.
LONGEST_WAIT = 60.0


# Credentials were revoked, or may have been: other processes write to the database too.
REVOCATION = "revocation"


def computer_topic(guid: str) -> str:
    return f"computer:{guid}"


def tree_topic(root: str) -> str:
    return f"tree:{root}"


def answer_topic(child: str) -> str:
    return f"answer:{child}"


def log_topic(request: str) -> str:
    return f"log:{request}"


class Hub:
    """Topics and their waiters. All methods belong to the event loop's thread."""

    def __init__(self) -> None:
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._calls: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self._is_over = False

    def on(self, topic: str, call: Callable[[], None]) -> None:
        """Call something at each news of a topic, before those who wait for it are woken."""
        self._calls[topic].append(call)

    def wake(self, topics: Iterable[str]) -> None:
        for topic in topics:
            for call in self._calls.get(topic, ()):
                call()
            for waiter in self._waiters.get(topic, ()):
                waiter.set()

    def wake_all(self) -> None:
        """For when news may have been missed."""
        self.wake({*self._waiters, *self._calls})

    def end(self) -> None:
        """The process is about to end: nobody is kept waiting any more."""
        self._is_over = True
        self.wake_all()

    async def poll(self, topic: str, wait: float, read: Callable[[], Awaitable[tuple[bool, Answer]]]) -> Answer:
        """Read at once and again at each news of the topic, until there is something new or the time is over.

        `read` says whether what it read is new. The waiter is there before the first read: no news falls in between.
        """
        end = asyncio.get_running_loop().time() + min(wait, LONGEST_WAIT)
        event = asyncio.Event()
        self._waiters[topic].add(event)
        try:
            while True:
                is_new, answer = await read()
                if is_new or self._is_over or not await _is_woken(event, end):
                    return answer
        finally:
            self._forget(topic, event)

    def _forget(self, topic: str, event: asyncio.Event) -> None:
        self._waiters[topic].discard(event)
        if not self._waiters[topic]:
            del self._waiters[topic]


async def _is_woken(event: asyncio.Event, end: float) -> bool:
    """Whether news came before the end; nothing is waited for when the end has passed."""
    if end > asyncio.get_running_loop().time():
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await event.wait()
    was_set = event.is_set()
    event.clear()
    return was_set
