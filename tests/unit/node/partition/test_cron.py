"""Scheduled commands: which are due, as whom they run, and that they neither pile up nor outlive their partition."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slap.node.core.store import Installed, Store
from slap.node.partition.cron import Cron, jobs_of, parse
from slap.node.partition.folder import Partitions
from slap.system.clock import FakeClock
from slap.system.process import Command, Completed
from tests.unit.node.things import PART, a_config, a_record

NOON = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "due"),
    [
        ("* * * * * /bin/true", True),
        ("0 12 * * * /bin/true", True),
        ("*/7 12 29 2 thu /bin/true", True),
        ("1 12 * * * /bin/true", False),
        ("0 0 30 2 * /bin/true", False),  # never
    ],
)
def test_a_job_is_due_at_its_minute(line: str, due: bool) -> None:
    job = parse(PART, "job", line)
    assert job and (job.command, job.is_due(NOON)) == ("/bin/true", due)


@pytest.mark.parametrize(
    "line", ["", "* * * * *", "/bin/true", "61 * * * * x", "@daily a b c d e", "* * * *", "H H * * * x"]
)
def test_what_is_no_job_is_none(line: str) -> None:
    assert parse(PART, "job", line) is None


def test_a_command_keeps_its_spaces_and_quotes() -> None:
    job = parse(PART, "job", "* * * * * sh -c 'a  b | c'")
    assert job and job.command == "sh -c 'a  b | c'"


class Runner:
    """Holds each job until it may end."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.may_end = threading.Event()

    def run(self, command: Command) -> Completed:
        self.commands.append(command)
        self.may_end.wait(5)
        return Completed(command, 0)


class World:
    def __init__(self, folder: Path, *crons: str) -> None:
        self.config = a_config(folder)
        self.store = Store(self.config.store_file)
        self.runner = Runner()
        self.cron = Cron(self.store, Partitions(self.config), self.runner, FakeClock())
        self.has(*crons)

    def has(self, *crons: str, was_ready: bool = True) -> None:
        lines = {f"job{number}": line for number, line in enumerate(crons)}
        self.store.save_instance(a_record(installed=Installed(crons=lines), was_ready=was_ready))

    def wait_for(self, number: int) -> None:
        deadline = time.monotonic() + 5
        while len(self.runner.commands) < number or (self.runner.may_end.is_set() and self.cron._running):
            assert time.monotonic() < deadline
            time.sleep(0.002)


def test_a_job_runs_in_its_partition_with_its_environment(tmp_path: Path) -> None:
    world = World(tmp_path, "* * * * * echo 100% done")
    world.cron.run_due(NOON)
    world.wait_for(1)
    (command,) = world.runner.commands
    assert command.argv == ("/bin/sh", "-c", "echo 100% done")
    assert (command.cwd, command.log) == (world.config.partition(PART), world.config.partition_logs / PART / "cron.log")
    assert command.env and command.env["SLAPOS_PARTITION"] == str(world.config.partition(PART))
    world.runner.may_end.set()


def test_a_job_that_still_runs_is_not_started_again(tmp_path: Path) -> None:
    world = World(tmp_path, "* * * * * a")
    world.cron.run_due(NOON)
    world.wait_for(1)
    world.cron.run_due(NOON)
    world.runner.may_end.set()
    world.wait_for(1)
    world.cron.run_due(NOON)
    world.wait_for(2)
    assert len(world.runner.commands) == 2


def test_a_partition_has_so_many_jobs_at_a_time_and_no_more(tmp_path: Path) -> None:
    world = World(tmp_path, *["* * * * * a"] * 40)
    world.cron.run_due(NOON)
    world.wait_for(16)
    world.cron.run_due(NOON)
    assert len(world.runner.commands) == 16
    world.runner.may_end.set()


def test_a_partition_that_is_not_started_has_no_jobs(tmp_path: Path) -> None:
    world = World(tmp_path, "* * * * * a")
    world.has("* * * * * a", was_ready=False)
    assert list(jobs_of(world.store)) == []


def test_a_partition_that_was_stopped_a_moment_ago_is_left_alone(tmp_path: Path) -> None:
    """Its processes were just ended; nothing may start there any more."""
    world = World(tmp_path, "* * * * * a")
    (job,) = jobs_of(world.store)
    world.has("* * * * * a", was_ready=False)
    world.cron._run_job(job)
    assert world.runner.commands == []


def test_a_minute_that_is_met_a_little_early_is_not_run_twice(tmp_path: Path) -> None:
    class Early(FakeClock):
        """Wakes us 20 ms before each minute, as a clock does that is being slowed down."""

        def now(self) -> datetime:
            self.seconds += 0.01
            return super().now()

    world = World(tmp_path, "* * * * * a")
    world.runner.may_end.set()
    clock = Early(seconds=59.95)
    cron = Cron(world.store, Partitions(world.config), world.runner, clock)
    thread = threading.Thread(target=cron.run)
    thread.start()
    time.sleep(0.1)
    cron.stop()
    thread.join(5)
    world.wait_for(1)
    assert len(world.runner.commands) == 1
