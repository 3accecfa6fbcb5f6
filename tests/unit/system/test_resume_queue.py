"""Parked requests that are to run again do so a few at a time, and nobody's keep others waiting."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from slap.system.serving.parked import ResumeQueue

MAX_RUNNING = 16


class Requests:
    """Connections that note their turn, and end when told so."""

    def __init__(self) -> None:
        self.queue = ResumeQueue()
        self.resumed: list[str] = []
        self.ends: list[Callable[[], None]] = []

    def add(self, whose: str, count: int) -> None:
        for number in range(count):
            self.queue.add(whose, cast(Any, _Connection(self, f"{whose}{number}")))


class _Connection:
    def __init__(self, requests: Requests, name: str) -> None:
        self._requests = requests
        self._name = name

    def resume(self, on_end: Callable[[], None]) -> None:
        self._requests.resumed.append(self._name)
        self._requests.ends.append(on_end)


async def _many() -> tuple[int, int, list[str]]:
    requests = Requests()
    requests.add("a", 100)
    requests.add("b", 2)
    at_first = len(requests.resumed)
    running = [at_first]
    while requests.ends:
        requests.ends.pop()()
        await asyncio.sleep(0)
        running.append(len(requests.ends))
    return at_first, max(running), requests.resumed


def test_a_few_run_at_a_time_and_each_owner_has_its_turn() -> None:
    at_first, most, resumed = asyncio.run(_many())
    assert (at_first, most, len(resumed)) == (MAX_RUNNING, MAX_RUNNING, 102)
    assert max(resumed.index("b0"), resumed.index("b1")) <= MAX_RUNNING + 4
