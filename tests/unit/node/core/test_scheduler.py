"""Work by key: at once, side by side, never twice at a time, and again when something happened meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from slap.node.core.scheduler import Requeue, Scheduler, Slots
from slap.system.clock import FakeClock, SystemClock

DAY = Requeue(86400.0)


class Work:
    """Counts what is done; a key in `gates` waits for its gate."""

    def __init__(self, *hanging: str) -> None:
        self.done: list[str] = []
        self.gates = {key: threading.Event() for key in hanging}
        self.entered = threading.Semaphore(0)
        self.answers: dict[str, list[Requeue]] = {}

    def __call__(self, key: str) -> Requeue:
        self.entered.release()
        if key in self.gates:
            self.gates[key].wait(10)
        self.done.append(key)
        answers = self.answers.get(key, [DAY])
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def running(work: Callable[[str], Requeue], threads: int = 8) -> Iterator[Scheduler[str]]:
    scheduler = Scheduler(work, SystemClock(), threads)
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    try:
        yield scheduler
    finally:
        scheduler.stop()
        thread.join(5)
        assert not thread.is_alive()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_key_that_hangs_holds_back_nothing_but_itself() -> None:
    work = Work("stuck")
    with running(work) as scheduler:
        scheduler.touch(["stuck"])
        scheduler.touch(["a", "b"])
        until(lambda: sorted(work.done) == ["a", "b"])
        work.gates["stuck"].set()
        until(lambda: "stuck" in work.done)


def test_what_is_touched_while_it_runs_runs_once_more_and_not_beside_itself() -> None:
    work = Work("a")
    with running(work) as scheduler:
        scheduler.touch(["a"])
        assert work.entered.acquire(timeout=5)
        for _ in range(5):
            scheduler.touch(["a"])
        assert not work.entered.acquire(timeout=0.05)
        work.gates["a"].set()
        until(lambda: work.done == ["a", "a"])
        assert work.entered.acquire(timeout=5)
        assert not work.entered.acquire(timeout=0.05)


def test_work_comes_again_when_it_asked_to() -> None:
    work = Work()
    work.answers["a"] = [Requeue(0.01), Requeue(0.01), DAY]
    with running(work) as scheduler:
        scheduler.touch(["a"])
        until(lambda: work.done == ["a"] * 3)


def test_work_that_raises_is_tried_again_and_ends_nothing() -> None:
    def work(key: str) -> Requeue:
        seen.append(key)
        if key == "bad":
            raise KeyError(key)
        return DAY

    seen: list[str] = []
    with running(work) as scheduler:
        scheduler.touch(["bad", "good"])
        until(lambda: sorted(seen) == ["bad", "good"])
        scheduler.touch(["bad"])
        until(lambda: seen.count("bad") == 2)


def test_draining_ends_when_all_are_content() -> None:
    work = Work()
    work.answers["b"] = [Requeue(0.01, content=False), Requeue(0.01, content=False), DAY]
    scheduler = Scheduler(work, SystemClock())
    scheduler.touch(["a", "b"])
    assert scheduler.drain(5) == set()
    assert work.done.count("b") == 3
    scheduler.stop()


def test_draining_gives_up_and_names_what_is_not_content() -> None:
    def work(key: str) -> Requeue:
        if key == "bad":
            raise KeyError(key)
        return Requeue(0.01, content=key != "slow")

    scheduler = Scheduler(work, SystemClock())
    scheduler.touch(["good", "slow", "bad"])
    assert scheduler.drain(0.1) == {"slow", "bad"}
    scheduler.stop()


class StumblingClock(FakeClock):
    """Each look at it takes a little, as on a busy machine."""

    def monotonic(self) -> float:
        self.seconds += 0.006
        return self.seconds


def test_draining_never_sleeps_over_what_became_due_while_it_looked() -> None:
    """Between one look at the clock and the next, a key may become due; it is not waited for until the very end."""
    work = Work()
    work.answers["a"] = [*[Requeue(0.015, content=False)] * 20, DAY]
    scheduler = Scheduler(work, StumblingClock())
    scheduler.touch(["a"])
    started = time.monotonic()
    assert scheduler.drain(10) == set()
    assert time.monotonic() - started < 5
    scheduler.stop()


def test_touching_without_end_uses_no_memory_without_end() -> None:
    work = Work("a")
    scheduler = Scheduler(work, FakeClock())
    for number in range(2000):
        scheduler.touch(["a", f"b{number % 10}"])
    assert len(scheduler._heap) < 200
    scheduler.stop()


def test_a_due_time_that_was_overtaken_is_forgotten() -> None:
    scheduler = Scheduler(Work(), SystemClock())
    for _ in range(300):
        scheduler.touch(["a"])
        assert scheduler.drain(5) == set()
    assert len(scheduler._heap) < 200
    scheduler.stop()


@pytest.mark.parametrize(("taken_before", "waits"), [((), False), ((5.0,), False), ((5.0, 1.0), True)])
def test_slots_are_counted(taken_before: tuple[float, ...], waits: bool) -> None:
    slots = Slots(2, 10.0, FakeClock())
    for age in taken_before:
        slots._taken[object()] = slots._clock.monotonic() - age
    assert (slots._wait() > 0) is waits


def test_work_that_hangs_gives_its_slot_to_others() -> None:
    slots, gate, passed = Slots(1, 0.05, SystemClock()), threading.Event(), threading.Event()

    def hang() -> None:
        with slots.one():
            passed.set()
            gate.wait(10)

    thread = threading.Thread(target=hang)
    thread.start()
    assert passed.wait(5)
    started = time.monotonic()
    with slots.one():
        assert 0.02 < time.monotonic() - started < 5
    gate.set()
    thread.join(5)


def test_a_slot_that_is_given_back_is_taken_at_once() -> None:
    slots = Slots(1, 3600.0, SystemClock())
    order: list[int] = []

    def work(number: int) -> None:
        with slots.one():
            order.append(number)
            time.sleep(0.005)
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert order[::2] == order[1::2]
    assert sorted(order) == sorted([*range(5)] * 2)
