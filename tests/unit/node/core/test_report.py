"""Reports reach the master: together, again and again, and one that it does not take holds back no other."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import InvalidInput, SlapError, Unreachable
from slap.model.node import NodeReport, SupplyReport
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState
from slap.node.core.report import Reporter
from slap.node.core.store import SoftwareRecord, Store
from tests.unit.node.things import PART, URL, Ear, a_record, a_report, a_supply, an_instance, record_in, wants

DESTROYED = a_report(ReportedInstanceState.DESTROYED)


class World:
    """A reporter, the master it talks to, and whom it told that a partition is free."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "node.sqlite")
        self.ear = Ear()
        self.free: list[str] = []
        self.reporter = Reporter("COMP-1", self.ear.master, self.store, self.free.append)

    def saw(self, number: int, **changes: Any) -> None:
        guid = f"INST-{number}"
        report = a_report(guid=guid, **changes)
        self.store.save_instance(a_record(partition=f"slappart{number}", guid=guid, report=report))
        self.reporter.notify(f"slappart{number}")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_many_changes_are_one_request(world: World) -> None:
    for number in range(20):
        world.saw(number)
        world.saw(number)
    assert world.reporter.flush() == 20
    assert [len(report.instances) for report in world.ear.reports] == [20]
    assert world.reporter.flush() == 0


def test_what_a_master_would_find_too_much_is_told_in_parts(world: World) -> None:
    for number in range(501):
        world.saw(number)
    assert world.reporter.flush() == 501
    assert [len(report.instances) for report in world.ear.reports] == [500, 1]


@pytest.mark.parametrize("error", [Unreachable("gone"), SlapError("incident")])
def test_what_was_not_heard_is_told_again(world: World, error: SlapError) -> None:
    world.saw(0)
    world.ear.refuses = lambda report: error
    with pytest.raises(SlapError):
        world.reporter.flush()
    world.ear.refuses = lambda report: None
    assert world.reporter.flush() == 1
    assert record_in(world.store).told


def test_not_even_an_unforeseen_fault_loses_a_report(world: World) -> None:
    def fail(report: NodeReport) -> SlapError:
        raise RuntimeError

    world.saw(0)
    world.ear.refuses = fail
    with pytest.raises(RuntimeError):
        world.reporter.flush()
    world.ear.refuses = lambda report: None
    assert world.reporter.flush() == 1


def test_a_report_that_is_refused_holds_back_no_other(world: World) -> None:
    world.ear.refuses = lambda report: InvalidInput("no") if "bad" in report.model_dump_json() else None
    world.saw(0)
    world.saw(1, message="bad")
    world.saw(2)
    world.store.save_software(_built("bad"))
    world.reporter.notify_software(URL)
    world.reporter.flush()
    told = {each.guid: each for report in world.ear.reports for each in report.instances}
    assert {guid: each.state.value for guid, each in told.items()} == {
        "INST-0": "started",
        "INST-1": "error",
        "INST-2": "started",
    }
    assert told["INST-1"].message == "The master does not take what is reported here: no"
    assert [record_in(world.store, f"slappart{n}").told for n in range(3)] == [True, True, True]
    world.saw(1, message="good")
    assert world.reporter.flush() == 1


def test_after_a_start_only_what_was_never_acknowledged_is_told(world: World) -> None:
    world.saw(0)
    world.reporter.flush()
    world.saw(1)
    world.store.save_software(_built())
    again = Reporter("COMP-1", world.ear.master, Store(world.store._path), world.free.append)
    again.requeue_unreported()
    assert again.flush() == 2
    assert world.ear.states == ["started", "started", "available"]


def test_what_is_destroyed_is_forgotten_once_the_master_knows(world: World) -> None:
    wants(world.store, an_instance(state=InstanceState.DESTROYED))
    world.store.save_instance(a_record(report=DESTROYED))
    world.reporter.notify(PART)
    world.reporter.flush()
    assert (world.store.instance_in(PART), world.store.instance_record(PART), world.free) == (None, None, [PART])


def test_an_acknowledgement_that_comes_late_leaves_the_next_instance_alone(world: World) -> None:
    """The master frees the partition before its answer arrives, and the next one is there already."""

    def go_on(report: NodeReport) -> None:
        wants(world.store, an_instance(guid="INST-2"))
        world.store.delete_instance_record(PART, "INST-1")
        world.store.save_instance(a_record(guid="INST-2", applied="x"))

    wants(world.store, an_instance(state=InstanceState.DESTROYED))
    world.store.save_instance(a_record(report=DESTROYED))
    world.reporter.notify(PART)
    world.ear.refuses = go_on
    world.reporter.flush()
    assert record_in(world.store).applied == "x"
    left = world.store.instance_in(PART)
    assert left is not None
    assert left.guid == "INST-2"


def test_a_release_that_is_gone_is_forgotten_too(world: World) -> None:
    wants(world.store, a_supply())
    world.store.save_software(_built(state=ReportedSupplyState.DESTROYED))
    world.reporter.notify_software(URL)
    world.reporter.flush()
    assert (world.store.supplies(), world.store.software_records()) == ([], [])


def test_what_cannot_be_remembered_is_told_all_the_same(world: World) -> None:
    world.reporter.report(a_report(ReportedInstanceState.ERROR, message="full"))
    world.reporter.report(SupplyReport(url=URL, state=ReportedSupplyState.ERROR, message="full"))
    world.ear.refuses = lambda report: Unreachable("gone")
    with pytest.raises(Unreachable):
        world.reporter.flush()
    world.ear.refuses = lambda report: None
    world.reporter.flush()
    assert world.ear.states == ["error", "error"]


def test_while_it_runs_it_tells_at_once_and_outlives_a_master_that_is_away(world: World) -> None:
    away = threading.Event()
    world.ear.refuses = lambda report: Unreachable("gone") if not away.is_set() else None
    thread = threading.Thread(target=world.reporter.run)
    thread.start()
    world.saw(0)
    away.set()
    deadline = time.monotonic() + 5
    while not record_in(world.store).told:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    world.reporter.stop()
    thread.join(5)
    assert not thread.is_alive()


def _built(message: str = "", state: ReportedSupplyState = ReportedSupplyState.AVAILABLE) -> SoftwareRecord:
    return SoftwareRecord(url=URL, revision=1, report=SupplyReport(url=URL, state=state, message=message))
