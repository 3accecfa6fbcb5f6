"""What a node remembers survives it, and is never half of it."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slap.model.errors import CommandFailed
from slap.model.node import DesiredState, SupplyReport
from slap.model.promise import PromiseResult
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState
from slap.node.core.store import HISTORY, SoftwareRecord, Store
from tests.unit.node.things import PART, URL, a_record, a_report, a_supply, an_instance, record_in, wants

ERROR = a_report(ReportedInstanceState.ERROR, message="no")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "node.sqlite")


def test_nobody_else_may_read_it(store: Store, tmp_path: Path) -> None:
    assert (tmp_path / "node.sqlite").stat().st_mode & 0o077 == 0


def test_what_was_written_is_there_after_a_crash(store: Store, tmp_path: Path) -> None:
    """The first store is never closed, as when the agent is killed."""
    wants(store, a_supply(), an_instance(), revision=7)
    store.save_instance(a_record(applied="x"))
    again = Store(tmp_path / "node.sqlite")
    assert (again.revision(), again.supply(URL), again.instance_in(PART)) == (7, a_supply(), an_instance())
    assert again.instance_record(PART) == a_record(applied="x")


def test_what_was_cut_off_was_never_there(store: Store, tmp_path: Path) -> None:
    wants(store, an_instance(), revision=3)
    with pytest.raises(ZeroDivisionError), store._transaction():
        store._connection.execute("delete from item")
        1 / 0  # noqa: B018
    assert Store(tmp_path / "node.sqlite").instances() == [an_instance()]


def test_a_part_adds_and_the_whole_replaces(store: Store) -> None:
    wants(store, an_instance(), revision=1)
    wants(store, an_instance(guid="INST-2", partition="slappart1"), revision=2)
    assert len(store.instances()) == 2
    wants(store, a_supply(), revision=3, since=0)
    assert (store.instances(), store.supplies(), store.revision()) == ([], [a_supply()], 3)


def test_the_next_instance_of_a_partition_goes_before_the_one_that_left(store: Store) -> None:
    wants(store, an_instance(state=InstanceState.DESTROYED), an_instance(guid="INST-0"))
    wants(store, an_instance(guid="INST-2", state=InstanceState.DESTROYED))
    assert store.instance_in(PART) == an_instance(guid="INST-0")


def test_an_acknowledgement_is_of_one_report_and_not_of_a_newer_one(store: Store) -> None:
    assert not store.save_instance(a_record())
    store.save_instance(a_record(report=ERROR))
    store.mark_told(PART, a_report())
    assert not record_in(store).told
    store.mark_told(PART, ERROR)
    assert record_in(store).told


def test_what_the_master_knows_is_not_taken_from_who_saves(store: Store) -> None:
    """A step read its record before the acknowledgement came, or before another master knew nothing."""
    stale = a_record()
    store.save_instance(stale)
    store.mark_told(PART, stale.report)
    assert store.save_instance(stale.model_copy(update={"applied": "x"}))
    told = record_in(store)
    store.mark_all_unreported()
    assert not store.save_instance(told)
    store.mark_told(PART, stale.report)
    assert not store.save_instance(told, anew=True)


def test_the_same_holds_for_releases_and_another_supply_is_told_anew(store: Store) -> None:
    report = SupplyReport(url=URL, state=ReportedSupplyState.AVAILABLE)
    stale = SoftwareRecord(url=URL, revision=1, report=report)
    assert not store.save_software(stale)
    store.mark_software_told(report)
    assert store.save_software(stale)
    assert not store.save_software(stale.model_copy(update={"revision": 2}))
    assert [each.told for each in store.software_records()] == [False]


def test_forgetting_an_instance_leaves_the_next_one_in_its_partition(store: Store) -> None:
    store.save_instance(a_record(guid="INST-2"))
    store.delete_instance_record(PART, "INST-1")
    assert record_in(store).guid == "INST-2"
    store.delete_instance_record(PART, "INST-2")
    assert store.instance_record(PART) is None


def test_the_history_of_promises_is_bounded_and_its_newest_comes_first(store: Store) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for number in range(HISTORY + 30):
        result = PromiseResult(name="p", passed=number % 2 == 0, at=start + timedelta(seconds=number))
        store.add_results(PART, (result, result.model_copy(update={"name": "q"})))
    found = store.results(PART, "p")
    assert (found[0].at - start).seconds == HISTORY + 29
    assert HISTORY <= len(found) <= HISTORY + 1
    store.save_instance(a_record())
    store.delete_instance_record(PART, "INST-1")
    assert store.results(PART) == []


def test_a_full_disk_is_told_in_words_and_changes_nothing(store: Store) -> None:
    store.save_instance(a_record())
    pages = store._connection.execute("pragma page_count").fetchone()[0]
    store._connection.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(CommandFailed, match="memory") as caught:
        store.save_instance(a_record(applied="x" * 100_000))
    assert "full" in caught.value.details
    assert store.instance_record(PART) == a_record()
    store._connection.execute("pragma max_page_count = 100000")
    store.save_instance(a_record(applied="y"))


def test_a_memory_that_cannot_be_read_is_told_in_words(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "node.sqlite") as other:
        other.execute("drop table item")
    with pytest.raises(CommandFailed, match="memory"):
        store.instances()


def test_what_a_master_does_not_name_in_a_partition_it_speaks_of_shall_go(store: Store) -> None:
    """A master that keeps no destroyed instances says that a partition is free, or has another one."""
    wants(store, an_instance(), an_instance(guid="INST-2", partition="slappart1", root="INST-2"), revision=1)
    store.apply(DesiredState(computer="COMP-1", revision=2, since=1, complete=("slappart1",)))
    assert {each.guid: each.state.value for each in store.instances()} == {"INST-1": "started", "INST-2": "destroyed"}
    state = DesiredState(
        computer="COMP-1", revision=3, since=2, complete=(PART,), instances=(an_instance(guid="INST-3"),)
    )
    store.apply(state)
    known = {each.guid: each.state.value for each in store.instances()}
    assert (known["INST-1"], known["INST-3"]) == ("destroyed", "started")


def test_an_instance_is_forgotten_only_when_it_shall_be_gone(store: Store) -> None:
    """Its name may be that of the next one in the partition, where a master names instances so."""
    wants(store, an_instance(), revision=1)
    store.forget_instance("INST-1")
    assert store.instance_in(PART) == an_instance()
    wants(store, an_instance(state=InstanceState.DESTROYED), revision=2)
    store.forget_instance("INST-1")
    assert store.instance_in(PART) is None
