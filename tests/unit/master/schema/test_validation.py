"""Checks by schemas are fair: no user waits for another's slow ones, and who takes too much is refused."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from slap.master.schema.validation import CheckFailed, SchemaChecks, SchemaSettings
from slap.master.schema.worker import Memory, Validators, answer
from slap.model.errors import TooMany


@dataclass
class _Workers:
    """Workers that answer when they are told to; a clock that goes on when it is told to."""

    time: float = 0.0
    started: int = 0
    ended: int = 0
    is_killed: bool = False
    jobs: list[tuple[str, "asyncio.Future[bytes]"]] = field(default_factory=list)

    async def start(self, settings: SchemaSettings) -> "_Workers":
        self.started += 1
        return self

    async def check(self, job: bytes) -> bytes:
        self.jobs.append((job.decode(), asyncio.get_running_loop().create_future()))
        return await self.jobs[-1][1]

    def is_alive(self) -> bool:
        return not self.is_killed

    def end(self) -> None:
        self.ended += 1

    def at_work(self) -> list[str]:
        """The schemas of the jobs that are not answered."""
        return [job.split('"')[1] for job, answer in self.jobs if not answer.done()]

    def answer(self, schema: str, seconds: float = 0, error: Exception | None = None) -> None:
        self.time += seconds
        answer = next(answer for job, answer in self.jobs if f'"{schema}"' in job and not answer.done())
        if error:
            answer.set_exception(error)
        else:
            answer.set_result(b'{"lines": []}')


@dataclass
class _Bench:
    workers: _Workers
    checks: SchemaChecks
    tasks: dict[str, "asyncio.Task[object]"] = field(default_factory=dict)

    async def ask(self, *whats: str) -> None:
        """Have users ask: `alice1` is alice's first check, by a schema of that name."""
        for what in whats:
            self.tasks[what] = asyncio.create_task(self.checks.check(what[:-1], what, {}))
        await self.settle()

    async def answer(self, schema: str, seconds: float = 0, error: Exception | None = None) -> None:
        self.workers.answer(schema, seconds, error)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


def _run(story: Callable[[_Bench], Awaitable[None]], **settings: float) -> None:
    async def tell() -> None:
        workers = _Workers()
        checks = SchemaChecks(SchemaSettings.model_validate(settings), workers.start, lambda: workers.time)
        bench = _Bench(workers, checks)
        await story(bench)
        for task in bench.tasks.values():
            task.cancel()
        await bench.settle()
        checks.close()
        assert workers.ended == workers.started

    asyncio.run(asyncio.wait_for(tell(), 20))


def test_a_user_has_one_worker_at_a_time() -> None:
    async def story(bench: _Bench) -> None:
        await bench.ask("alice1", "alice2", "alice3", "bob1")
        assert bench.workers.at_work() == ["alice1", "bob1"]
        await bench.answer("bob1")
        assert bench.workers.at_work() == ["alice1"]
        await bench.answer("alice1")
        assert bench.workers.at_work() == ["alice2"]
        assert bench.workers.started == 2

    _run(story)


def test_who_took_least_lately_is_next() -> None:
    async def story(bench: _Bench) -> None:
        await bench.ask("alice1", "alice2", "alice3", "bob1")
        await bench.answer("alice1", seconds=2)
        assert bench.workers.at_work() == ["bob1"]
        await bench.answer("bob1")
        assert bench.workers.at_work() == ["alice2"]

    _run(story, workers=1)


def test_who_took_too_much_is_refused_until_it_is_forgotten() -> None:
    async def story(bench: _Bench) -> None:
        await bench.ask("alice1", "alice2", "bob1")
        await bench.answer("alice1", seconds=7)
        with pytest.raises(TooMany, match=r"took 7\.0 s"):
            await bench.tasks["alice2"]
        assert bench.workers.at_work() == ["bob1"]
        bench.workers.time += 30
        await bench.ask("alice3")
        assert bench.workers.at_work() == ["bob1", "alice3"]

    _run(story, seconds_a_minute=6)


def test_quick_checks_are_not_counted() -> None:
    async def story(bench: _Bench) -> None:
        for number in range(9):
            await bench.ask(f"alice{number}")
            await bench.answer(f"alice{number}", seconds=0.04)
            await bench.tasks[f"alice{number}"]

    _run(story, seconds_a_minute=0.1)


def test_a_user_asks_for_so_many_checks_at_a_time() -> None:
    async def story(bench: _Bench) -> None:
        await bench.ask("alice1", "alice2", "alice3", "alice4", "bob1")
        with pytest.raises(TooMany, match="2 of your requests wait"):
            await bench.tasks["alice4"]
        assert bench.workers.at_work() == ["alice1", "bob1"]

    _run(story, waiting=2)


def test_what_waits_for_a_user_is_not_large() -> None:
    async def story(bench: _Bench) -> None:
        await bench.ask("alice1", "alice2")
        with pytest.raises(TooMany, match="1 of your requests wait"):
            await bench.checks.check("alice", "large", {"a": "x" * (1 << 20)})
        await bench.ask("bob1")
        assert bench.workers.at_work() == ["alice1", "bob1"]

    _run(story)


def test_a_worker_that_failed_is_replaced() -> None:
    async def story(bench: _Bench) -> None:
        await bench.ask("alice1", "alice2")
        await bench.answer("alice1", error=CheckFailed("takes longer than 2 s"))
        with pytest.raises(CheckFailed):
            await bench.tasks["alice1"]
        assert (bench.workers.started, bench.workers.ended, bench.workers.at_work()) == (2, 1, ["alice2"])

    _run(story, workers=1)


def test_a_worker_that_was_killed_while_it_was_idle_is_replaced() -> None:
    async def story(bench: _Bench) -> None:
        await bench.ask("alice1")
        await bench.answer("alice1")
        bench.workers.is_killed = True
        await bench.ask("bob1")
        await bench.answer("bob1")
        await bench.tasks["bob1"]
        assert (bench.workers.started, bench.workers.ended) == (2, 1)

    _run(story)


def test_who_goes_away_leaves_room_for_the_next() -> None:
    async def story(bench: _Bench) -> None:
        await bench.ask("alice1", "alice2", "bob1", "carl1")
        for each in ("alice2", "alice1", "bob1"):
            bench.tasks[each].cancel()
        await bench.settle()
        assert bench.workers.at_work()[-1] == "carl1"
        await bench.answer("carl1")
        await bench.tasks["carl1"]

    _run(story, workers=1)


def test_what_cannot_be_written_is_not_asked() -> None:
    nested: list[object] = []
    for _ in range(5000):
        nested = [nested]

    async def story(bench: _Bench) -> None:
        with pytest.raises(CheckFailed, match="nested too deeply"):
            await bench.checks.check("alice", "{}", {"a": nested})

    _run(story)


def test_a_worker_that_grew_forgets_what_it_kept() -> None:
    validators, job = Validators(), json.dumps(['{"type": "object"}', {}]).encode()
    kept, grown = Memory(1 << 40), Memory(0)
    answer(validators, job)
    assert not kept.shrink(validators)
    assert len(validators) == 1
    held = bytearray(os.urandom(1 << 20)) * 8
    assert grown.shrink(validators)
    assert len(validators) == 0 and len(held) == 8 << 20
