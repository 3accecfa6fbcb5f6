"""Waiting for news: none is missed, and nothing is left behind."""

import asyncio

import pytest

from slap.master.database.hub import REVOCATION, Hub, NothingNew


async def _wait_for(hub: Hub, wait: float, answers: list[tuple[bool, int]]) -> int:
    async def read() -> tuple[bool, int]:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    return await hub.wait_for("topic", wait, read)


async def _news() -> tuple[int, int, int, dict[str, object]]:
    hub = Hub()
    at_once = await _wait_for(hub, 0, [(True, 1)])
    in_vain = await _wait_for(hub, 0.01, [(False, 2)])
    waiting = asyncio.create_task(_wait_for(hub, 10, [(False, 3), (False, 4), (True, 5)]))
    for _ in range(3):
        await asyncio.sleep(0)
        hub.wake(["topic", "another"])
    return at_once, in_vain, await asyncio.wait_for(waiting, 5), dict(hub._subscriptions)


def test_who_waits_is_answered_at_once_or_at_the_end_or_at_news_and_leaves_nothing_behind() -> None:
    assert asyncio.run(_news()) == (1, 2, 5, {})


async def _during_the_read() -> int:
    hub = Hub()
    answers = [(False, 1), (True, 2)]

    async def read() -> tuple[bool, int]:
        hub.wake(["topic"])  # something is committed while what was before is being read
        return answers.pop(0)

    return await asyncio.wait_for(hub.wait_for("topic", 10, read), 5)


def test_news_that_come_during_a_read_are_read_too() -> None:
    assert asyncio.run(_during_the_read()) == 2


async def _poll(hub: Hub, wait: float, *found: bool | Exception) -> bool:
    async def read() -> tuple[bool, bool]:
        (is_new,) = found
        if isinstance(is_new, Exception):
            raise is_new
        return is_new, is_new

    return await hub.poll("topic", wait, read)


@pytest.mark.parametrize(("wait", "is_new"), [(10, True), (0, True), (0, False), (-1, False)])
def test_a_poll_answers_what_is_new_and_anything_when_no_time_is_left(wait: float, is_new: bool) -> None:
    hub = Hub()
    assert asyncio.run(_poll(hub, wait, is_new)) is is_new
    assert hub._subscriptions == {}


def test_a_poll_that_fails_leaves_nothing_behind() -> None:
    hub = Hub()
    with pytest.raises(ValueError, match="no such"):
        asyncio.run(_poll(hub, 10, ValueError("no such")))
    assert hub._subscriptions == {}


def test_a_hub_that_ends_answers_what_there_is() -> None:
    hub = Hub()
    hub.end()
    assert asyncio.run(_poll(hub, 10, False)) is False


@pytest.mark.parametrize("topic", ["topic", REVOCATION])
def test_news_of_any_topic_are_told_also_when_they_came_before_somebody_listened(topic: str) -> None:
    hub = Hub()
    with pytest.raises(NothingNew) as nothing:
        asyncio.run(_poll(hub, 10, False))
    told: list[str] = []
    hub.wake([topic])
    nothing.value.subscription.call_at_news(lambda: told.append("before"))
    hub.wake([topic])
    nothing.value.subscription.close()
    hub.wake([topic])
    assert (told, hub._subscriptions) == (["before", "before"], {})
