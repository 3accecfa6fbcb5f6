"""Pre-removal scripts: begun once, waited for, not for ever, and taken up again by the next agent."""

from functools import partial
from pathlib import Path

import pytest

from slap.model.state import ReportedInstanceState
from slap.node.core.report import Reporter
from slap.node.core.scheduler import Requeue
from slap.node.core.store import Store
from slap.node.manager.base import Tools
from slap.node.manager.prerm import Prerm, ScriptStatus, judge, scripts_of
from slap.node.partition.folder import Partitions
from slap.node.partition.hooks import Managers, RemovalStatus
from slap.node.partition.monitor import PartitionMonitor
from slap.node.partition.reconciler import Reconciler
from slap.node.partition.steps import StepContext, Steps
from slap.node.partition.supervision import REMOVAL_SUFFIX
from slap.node.promise.runner import PromiseRunner
from slap.system.process import FakeRunner
from slap.system.supervisor import ProcessInfo, ProcessState
from tests.unit.node.managed import Room
from tests.unit.node.partition.world import DESTROYED, Supervisord, World, killed_at
from tests.unit.node.things import PART

RUNNING, EXITED, FATAL = ProcessState.RUNNING, ProcessState.EXITED, ProcessState.FATAL


def one(name: str, state: ProcessState, started: float = 100.0, status: int = -1) -> ProcessInfo:
    return ProcessInfo(name, state, status=status, started=started)


@pytest.mark.parametrize(
    ("processes", "now", "expected"),
    [
        ([], 0.0, ScriptStatus((), (), overdue=False)),
        ([one("a", RUNNING)], 105.0, ScriptStatus(("a",), (), overdue=False)),
        ([one("a", RUNNING)], 111.0, ScriptStatus(("a",), (), overdue=True)),
        ([one("a", RUNNING, 0.0)], 111.0, ScriptStatus(("a",), (), overdue=False)),  # not started yet
        ([one("a", EXITED, status=0)], 500.0, ScriptStatus((), (), overdue=False)),
        ([one("a", EXITED, status=1), one("b", RUNNING)], 101.0, ScriptStatus(("b",), ("a",), overdue=False)),
        ([one("a", ProcessState.BACKOFF)], 101.0, ScriptStatus(("a",), (), overdue=False)),
        ([one("a", FATAL)], 101.0, ScriptStatus((), ("a",), overdue=False)),
    ],
)
def test_scripts_are_judged(processes: list[ProcessInfo], now: float, expected: ScriptStatus) -> None:
    assert judge(processes, now, 10.0) == expected


def test_only_files_with_a_name_for_a_script_are_scripts(tmp_path: Path) -> None:
    folder = tmp_path / "etc/prerm"
    assert scripts_of(tmp_path) == []
    (folder / "sub").mkdir(parents=True)
    for name in ("b", "a", ".hidden", "two words"):
        (folder / name).touch()
    assert scripts_of(tmp_path) == ["a", "b"]


def test_a_file_in_the_place_of_the_folder_is_no_script(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/prerm").touch()
    assert scripts_of(tmp_path) == []


def test_without_scripts_nothing_is_waited_for(tmp_path: Path) -> None:
    room = Room(tmp_path)
    assert Prerm(room.tools).leaving(room.folder) == RemovalStatus()
    assert room.supervisor.calls == []


def test_scripts_run_once_under_supervision_and_are_waited_for(tmp_path: Path) -> None:
    room, group = Room(tmp_path), PART + REMOVAL_SUFFIX
    room.write("etc/prerm/backup", "#!/bin/sh\n")
    prerm = Prerm(room.tools)
    room.supervisor.outcomes[group] = [one("backup", RUNNING, room.clock.seconds)]
    assert prerm.leaving(room.folder) == RemovalStatus("pre-removal script backup")
    assert "autorestart = false" in room.group(REMOVAL_SUFFIX)
    assert (prerm.is_leaving(room.folder), prerm.leaving(room.folder).waits_for) == (True, "pre-removal script backup")
    room.supervisor.outcomes[group] = [one("backup", EXITED, status=0)]
    assert prerm.leaving(room.folder) == RemovalStatus()
    prerm.emptied(room.folder)
    assert (prerm.is_leaving(room.folder), room.supervisor.groups()) == (False, [])


def test_one_that_takes_too_long_is_ended_and_told(tmp_path: Path) -> None:
    room, group = Room(tmp_path, {"prerm_timeout": 60}), PART + REMOVAL_SUFFIX
    room.write("etc/prerm/backup", "")
    room.supervisor.outcomes[group] = [one("backup", RUNNING, room.clock.seconds)]
    prerm = Prerm(room.tools)
    prerm.leaving(room.folder)
    room.clock.sleep(61)
    farewell = prerm.leaving(room.folder)
    assert (farewell.waits_for, "backup did not end within 60 s" in farewell.complaints) == ("", True)
    assert room.supervisor.groups() == []


def test_one_that_fails_is_told_in_its_own_words_and_holds_nothing_up(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.write("etc/prerm/backup", "")
    room.supervisor.outcomes[PART + REMOVAL_SUFFIX] = [one("backup", EXITED, status=3)]
    room.folder.logs.mkdir(parents=True)
    (room.folder.logs / "prerm-backup.log").write_text("no space\n")
    assert Prerm(room.tools).leaving(room.folder) == RemovalStatus("", "Pre-removal script backup failed: no space")


class Half(Supervisord):
    """Says of scripts that they run at the first look, and that they ended at the next."""

    looks = 0

    def processes(self, group: str) -> list[ProcessInfo]:
        if not group.endswith(REMOVAL_SUFFIX):
            return super().processes(group)
        self.looks += group in self.taken
        return [one("backup", EXITED if self.looks > 1 else RUNNING, 1e6, status=0)] if group in self.taken else []


def a_world(folder: Path) -> World:
    """A running instance that is to be destroyed and wants to be heard before."""
    world = World(folder)
    world.supervisord = Half(world.config.supervisor_folder)
    world.wants()
    world.agent().work()
    script = world.config.partition(PART) / "etc/prerm/backup"
    script.parent.mkdir(parents=True)
    script.touch()
    world.wants(state=DESTROYED)
    return world


def twice(reconciler: Reconciler) -> None:
    for _ in range(2):
        reconciler.once(PART)


def an_agent(world: World) -> tuple[Reconciler, Reporter, Store]:
    store = Store(world.config.store_file)
    reporter = Reporter("COMP-1", world.ear.master, store, lambda name: None)
    watch = PartitionMonitor(
        world.config, store, world.supervisord, PromiseRunner(FakeRunner(), world.clock), world.clock
    )
    managers = Managers([Prerm(Tools(world.config, world.supervisord, FakeRunner(), world.clock))])
    partitions = Partitions(world.config)
    hands = StepContext(world.config, store, world.builder, world.supervisord, world.clock, partitions, managers)
    steps = Steps(hands, watch, reporter)
    return Reconciler(store.instance_in, steps.look, steps.table(), steps.fail), reporter, store


def test_the_requester_sees_what_removal_waits_for(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    reconciler, reporter, store = an_agent(world)
    assert reconciler.once(PART) == Requeue(2.0, content=False)
    assert list(world.supervisord.taken) == [PART + REMOVAL_SUFFIX]  # the service has ended
    record = store.instance_record(PART)
    assert record
    assert (record.report.state, record.report.message) == (
        ReportedInstanceState.STOPPED,
        "Waits for pre-removal script backup.",
    )
    assert reconciler.once(PART) == Requeue(86400.0)
    reporter.requeue_unreported()
    reporter.flush()
    assert (world.told, world.supervisord.taken, list(world.config.partition(PART).iterdir())) == ("destroyed", {}, [])


def test_killed_at_any_line_the_next_agent_waits_for_the_same_scripts_and_empties_the_partition(tmp_path: Path) -> None:
    line, killed = 1, True
    while killed:
        world = a_world(tmp_path / str(line))
        first, _, store = an_agent(world)
        killed = killed_at(line, partial(twice, first))
        store.close()
        second, reporter, _ = an_agent(world)
        for _ in range(4):
            second.once(PART)
        reporter.requeue_unreported()
        reporter.flush()
        left = (world.told, world.supervisord.taken, list(world.config.partition(PART).iterdir()))
        assert left == ("destroyed", {}, []), f"killed at line {line}"
        assert list(world.config.supervisor_folder.glob("*-prerm.conf")) == []
        line += 13
