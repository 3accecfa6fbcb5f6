"""Watching a started partition: when its promises are asked, what is made of their answers, when it is looked at again."""

from pathlib import Path
from typing import Any

import pytest

from slap.model.check import CommandCheck, MachineCheck
from slap.model.node import PUBLISHED_FILE
from slap.model.state import ReportedInstanceState
from slap.node.core.scheduler import Requeue
from slap.node.core.store import Installed, Store
from slap.node.partition.folder import Partitions
from slap.node.partition.monitor import PartitionMonitor
from slap.node.promise.runner import PromiseRunner
from slap.system.clock import FakeClock
from slap.system.process import Completed, FakeRunner
from slap.system.supervisor import FakeSupervisor, ProcessInfo, ProcessState
from tests.unit.node.things import PART, a_config, a_record, a_report

INSTALLED = Installed(
    services={"web": "1"}, checks={"p": CommandCheck(check="command", command=("ask",), frequency=60)}
)
YES, NO = Completed(None, 0), Completed(None, 1, "no")  # type: ignore[arg-type]


class World:
    """A partition whose one service runs, and whose one promise answers what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.config = a_config(folder)
        self.clock = FakeClock()
        self.store = Store(self.config.store_file)
        self.runner = FakeRunner({"ask": YES})
        self.supervisor = FakeSupervisor()
        self.process(ProcessState.RUNNING)
        self.record = a_record(
            installed=INSTALLED, unready_since=self.clock.seconds, report=a_report(ReportedInstanceState.INSTANTIATING)
        )
        self.restart()

    def restart(self) -> None:
        promises = PromiseRunner(self.runner, self.clock)
        self.watch = PartitionMonitor(self.config, self.store, self.supervisor, promises, self.clock)

    def process(self, state: ProcessState, **changes: Any) -> None:
        self.supervisor.running[PART] = [ProcessInfo("web", state, **changes)]

    def says(self, answer: Completed) -> None:
        self.runner.answers = {"ask": answer}

    def check(self, after: float = 0.0) -> Requeue:
        self.clock.sleep(after)
        folder = Partitions(self.config).get(PART)
        self.record, again = self.watch.check(folder, self.record)
        return again

    @property
    def asked(self) -> int:
        return len(self.runner.commands)

    @property
    def state(self) -> str:
        return self.record.report.state.value


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_runs_and_passes_is_started_and_rests_until_its_promise_is_due(world: World) -> None:
    assert world.check() == Requeue(60.0)
    assert (world.state, world.record.was_ready, world.record.unready_since) == ("started", True, 0.0)
    assert world.check(after=10) == Requeue(50.0)
    assert world.asked == 1
    world.check(after=50)
    assert world.asked == 2


def test_after_a_restart_of_the_agent_only_what_is_due_is_asked(world: World) -> None:
    world.check()
    world.restart()
    assert world.check(after=20) == Requeue(40.0)
    assert world.asked == 1


def test_failing_is_part_of_starting_for_a_while(world: World) -> None:
    world.says(NO)
    assert not world.check(after=1).content
    assert world.state == "instantiating"
    again = world.check(after=60)
    assert (world.state, again.content) == ("error", True)


def test_a_machine_may_take_longer_to_start(world: World) -> None:
    machine = MachineCheck(check="machine", grace=300)
    installed = world.record.installed.model_copy(update={"checks": {"vm": machine}})
    world.record = world.record.model_copy(update={"installed": installed})
    world.check(after=1)
    world.check(after=200)
    assert (world.state, world.record.report.message) == (
        "instantiating",
        "Promise vm: The machine was not started yet.",
    )
    world.check(after=100)
    assert world.state == "error"


def test_what_was_ready_once_has_no_such_grace(world: World) -> None:
    world.check()
    world.says(NO)
    world.check(after=60)
    assert (world.state, world.record.report.message) == ("error", "Promise p: no")


def test_looks_are_close_together_at_first_and_rare_later(world: World) -> None:
    world.says(NO)
    pauses = [world.check(after=after).seconds for after in (0, 0.1, 1, 10)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.1
    assert pauses[-1] < 2.1


def test_what_fails_for_hours_is_not_asked_every_second(world: World) -> None:
    world.check()
    world.says(NO)
    first = world.check(after=60).seconds
    assert first <= 2
    assert 2 < world.check(after=100).seconds < 20
    assert world.check(after=7200).seconds == 60


def test_recovery_brings_back_the_usual_frequency(world: World) -> None:
    world.check()
    world.says(NO)
    world.check(after=60)
    world.says(YES)
    assert world.check(after=10) == Requeue(60.0)
    assert (world.state, world.record.failures, world.record.unready_since) == ("started", 0, 0.0)


def test_a_promise_that_passed_before_the_service_was_started_again_proves_nothing(world: World) -> None:
    world.check()
    world.clock.sleep(5)
    world.process(ProcessState.RUNNING, started=world.clock.seconds)
    world.says(NO)
    world.check(after=1)
    assert (world.asked, world.state) == (2, "error")


def test_what_supervisord_gave_up_gets_a_time_to_be_revived(world: World) -> None:
    world.process(ProcessState.FATAL, error="spawn failed")
    world.check()
    retry_at = world.record.retry_at
    assert world.clock.seconds < retry_at < world.clock.seconds + 10
    world.check(after=1)
    assert (world.state, world.record.retry_at) == ("error", retry_at)


def test_results_are_reported_anew_when_an_outcome_changed_and_not_when_a_clock_did(world: World) -> None:
    world.check()
    first = world.record.report
    world.check(after=60)
    assert world.record.report == first
    world.says(NO)
    world.check(after=60)
    assert [each.message for each in world.record.report.promises] == ["no"]


def test_a_promise_that_is_gone_is_not_reported_any_more(world: World) -> None:
    world.check()
    world.record = world.record.model_copy(update={"installed": Installed(services={"web": "1"})})
    world.check()
    assert world.record.report.promises == ()


def test_history_is_kept(world: World) -> None:
    world.check()
    world.says(NO)
    world.check(after=60)
    assert [result.passed for result in world.store.results(PART, "p")] == [False, True]


def test_what_a_service_publishes_and_nobody_can_keep_is_its_error(world: World) -> None:
    folder = Partitions(world.config).get(PART)
    folder.path.mkdir(parents=True)
    (folder.path / PUBLISHED_FILE).write_text('{"x": 1000000000000000000000000000000}')
    world.check()
    assert world.record.report.state is ReportedInstanceState.ERROR
    assert "x: an integer of more than 64 bits" in world.record.report.message
    assert world.record.report.connection is None
    (folder.path / PUBLISHED_FILE).write_text('{"x": 1}')
    world.check()
    mended = world.record.report
    assert (mended.state, mended.connection) == (ReportedInstanceState.STARTED, {"x": 1})
