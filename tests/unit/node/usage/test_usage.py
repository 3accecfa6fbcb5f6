"""What partitions use: arithmetic of counters, and the small database that keeps it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from slap.client.master import Master
from slap.model.tioxml import read_journal
from slap.model.usage import SLOT, UsageReport
from slap.node.usage.aggregate import Amounts, amounts, counters
from slap.node.usage.report import UsageMaster, UsageReporter
from slap.node.usage.store import DAYS, UsageStore, entry
from slap.system.metrics import ProcessUse, SocketUse

_AT = 1_800_000_000.0
_WHOSE = ("INST-1", "slappart0", "web")


def _process(pid: int = 1, cpu: float = 0.0, **more: object) -> ProcessUse:
    values = {"started": 7, "partition": "slappart0", "memory": 100, "read": 0, "written": 0, **more}
    return ProcessUse(pid=pid, cpu=cpu, **values)  # type: ignore[arg-type]


def test_the_first_look_knows_only_memory() -> None:
    found = amounts(None, [_process(cpu=5.0), _process(2, memory=50)], {})
    assert (found["slappart0"].cpu, found["slappart0"].memory) == (0.0, 150)


def test_what_was_used_is_what_the_counters_grew_by() -> None:
    before = counters(_AT, [_process(cpu=5.0, read=10, written=1)], {})
    used = amounts(before, [_process(cpu=7.5, read=30, written=2)], {})["slappart0"]
    assert (used.cpu, used.read, used.written) == (2.5, 20, 1)


def test_a_process_that_is_new_counts_from_its_start() -> None:
    before = counters(_AT, [_process(cpu=5.0)], {})
    assert amounts(before, [_process(cpu=1.0, started=8)], {})["slappart0"].cpu == 1.0


def test_a_connection_that_two_processes_have_counts_once() -> None:
    processes = [_process(1, sockets=frozenset({9})), _process(2, sockets=frozenset({9}))]
    before = counters(_AT, processes, {9: SocketUse(9, 100, 10)})
    used = amounts(before, processes, {9: SocketUse(9, 150, 30)})["slappart0"]
    assert (used.received, used.sent) == (50, 20)


def test_partitions_are_told_apart() -> None:
    before = counters(_AT, [], {})
    found = amounts(before, [_process(1, 1.0), _process(2, 2.0, partition="slappart1")], {})
    assert {name: each.cpu for name, each in found.items()} == {"slappart0": 1.0, "slappart1": 2.0}


class _Native(Master):
    """Takes what our masters take."""

    def __init__(self) -> None:
        self.told: list[UsageReport] = []

    def report_usage(self, guid: str, report: UsageReport) -> None:
        self.told.append(report)


class _Classic(Master):
    """Takes what SlapOS's masters take."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def report_journal(self, guid: str, journal: bytes) -> None:
        self.told.append(journal)


def _keeper(store: UsageStore, master: Master, now: float = _AT) -> UsageReporter:
    return UsageReporter(None, store, lambda: (), UsageMaster(lambda: master, "COMP-1"), lambda: now)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> UsageStore:
    return UsageStore(tmp_path / "usage.sqlite")


def _add(store: UsageStore, at: float, seconds: float, **used: float) -> None:
    row = entry(_WHOSE, at, seconds, Amounts(**used), disk=5)  # type: ignore[arg-type]
    store.add(counters(at, [], {}), [row])


def test_looks_in_one_slot_add_up(store: UsageStore) -> None:
    _add(store, _AT, 60.0, cpu=1.0, memory=10, read=5)
    _add(store, _AT + 60, 60.0, cpu=2.0, memory=30, read=5)
    (series,) = store.series(0)
    (slot,) = series.slots
    assert (slot.seconds, slot.cpu, slot.memory, slot.read, slot.disk) == (120.0, 3.0, 30, 10, 5)
    assert slot.start == datetime.fromtimestamp(_AT // SLOT * SLOT, UTC)


def test_counters_are_remembered(store: UsageStore) -> None:
    known = counters(_AT, [_process(cpu=1.5)], {})
    store.add(known, [])
    assert store.counters() == known


def test_what_is_old_goes(store: UsageStore) -> None:
    _add(store, _AT, 60.0, cpu=1.0)
    _add(store, _AT + (DAYS + 1) * 86400, 60.0, cpu=1.0)
    assert len(store.series(0)[0].slots) == 1


def test_a_slot_is_told_until_the_master_has_it_and_again_when_it_grew(store: UsageStore) -> None:
    native = _Native()
    keeper = _keeper(store, native)
    _add(store, _AT, 60.0, cpu=1.0)
    assert keeper.report() == 1
    assert keeper.report() == 0
    _add(store, _AT + 1, 1.0, cpu=1.0)
    assert keeper.report() == 1
    assert [each.series[0].slots[0].cpu for each in native.told] == [1.0, 2.0]


def test_what_grew_while_it_was_told_is_told_again(store: UsageStore) -> None:
    _add(store, _AT, 60.0, cpu=1.0)
    untold = store.untold()
    _add(store, _AT + 1, 1.0, cpu=1.0)
    store.told(untold)
    assert len(store.untold()) == 1


def test_a_master_that_takes_only_tioxml_is_told_of_each_day_once_when_it_is_over(store: UsageStore) -> None:
    classic = _Classic()
    _add(store, _AT, 60.0, cpu=30.0)
    assert _keeper(store, classic).report() == 0
    assert _keeper(store, classic, _AT + 86400).report() == 1
    assert _keeper(store, classic, _AT + 86400).report() == 0
    (journal,) = classic.told
    assert read_journal(journal)["slappart0"][0].load == pytest.approx(0.5)
