"""Waiting for news: none is missed, and nothing is left behind."""

import asyncio

from slap.master.database.hub import Hub


async def _poll(hub: Hub, wait: float, answers: list[tuple[bool, int]]) -> int:
    async def read() -> tuple[bool, int]:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    return await hub.poll("topic", wait, read)


async def _news() -> tuple[int, int, int, dict[str, object]]:
    hub = Hub()
    at_once = await _poll(hub, 0, [(True, 1)])
    in_vain = await _poll(hub, 0.01, [(False, 2)])
    waiting = asyncio.create_task(_poll(hub, 10, [(False, 3), (False, 4), (True, 5)]))
    for _ in range(3):
        await asyncio.sleep(0)
        hub.wake(["topic", "another"])
    return at_once, in_vain, await asyncio.wait_for(waiting, 5), dict(hub._waiters)


def test_a_poll_answers_at_once_or_at_the_end_or_at_news_and_leaves_nothing_behind() -> None:
    assert asyncio.run(_news()) == (1, 2, 5, {})


async def _during_the_read() -> int:
    hub = Hub()
    answers = [(False, 1), (True, 2)]

    async def read() -> tuple[bool, int]:
        hub.wake(["topic"])  # something is committed while what was before is being read
        return answers.pop(0)

    return await asyncio.wait_for(hub.poll("topic", 10, read), 5)


def test_news_that_come_during_a_read_are_read_too() -> None:
    assert asyncio.run(_during_the_read()) == 2
