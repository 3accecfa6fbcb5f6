"""Telling the master what is: at once, many reports in one request, again and again until it was heard."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from slap.client.master import Master
from slap.model.errors import SlapError
from slap.model.node import NodeReport
from slap.model.state import ReportedInstanceState, ReportedSupplyState
from slap.node.backoff import delay
from slap.node.store import InstanceRecord, SoftwareRecord, Store

Recorded = TypeVar("Recorded", InstanceRecord, SoftwareRecord)

log = logging.getLogger(__name__)


@dataclass
class _Dirty:
    """What is to be told."""

    partitions: set[str] = field(default_factory=set)
    urls: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.partitions or self.urls)


class Reporter:
    """Collects what changed while a request is under way, so N changes at once cost far fewer than N requests.

    `gone` is called with the partition of an instance that the master knows to be destroyed.
    """

    def __init__(self, computer: str, master: Callable[[], Master], store: Store, gone: Callable[[str], None]) -> None:
        self._computer = computer
        self._master = master
        self._store = store
        self._gone = gone
        self._changed = threading.Condition()
        self._dirty = _Dirty()
        self._stopped = False

    def poke(self, partition: str) -> None:
        """There may be something new to tell of a partition."""
        with self._changed:
            self._dirty.partitions.add(partition)
            self._changed.notify_all()

    def poke_software(self, url: str) -> None:
        with self._changed:
            self._dirty.urls.add(url)
            self._changed.notify_all()

    def recall(self) -> None:
        """After a start: whatever was never acknowledged is to be told."""
        for record in self._store.instance_records():
            if not record.told:
                self.poke(record.partition)
        for software in self._store.software_records():
            if not software.told:
                self.poke_software(software.url)

    def flush(self) -> int:
        """Tell all that is to be told now; returns how many reports that were. Raises what the master answered."""
        with self._changed:
            dirty, self._dirty = self._dirty, _Dirty()
        try:
            return self._tell(dirty)
        except SlapError:
            with self._changed:
                self._dirty.partitions |= dirty.partitions
                self._dirty.urls |= dirty.urls
            raise

    def run(self) -> None:
        """Tell until `stop`; with the master gone, back off."""
        failures = 0
        while self._wait(failures):
            try:
                self.flush()
                failures = 0
            except SlapError as error:
                failures += 1
                log.warning("Reports wait: %s", error.brief)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _wait(self, failures: int) -> bool:
        with self._changed:
            if failures:
                self._changed.wait_for(lambda: self._stopped, min(10.0, delay(failures) / 4))
            self._changed.wait_for(lambda: self._stopped or bool(self._dirty))
            return not self._stopped

    def _tell(self, dirty: _Dirty) -> int:
        instances = _untold(self._store.instance_record(name) for name in sorted(dirty.partitions))
        software = _untold(self._store.software_record(url) for url in sorted(dirty.urls))
        if not instances and not software:
            return 0
        report = NodeReport(
            instances=tuple(each.report for each in instances), supplies=tuple(each.report for each in software)
        )
        self._master().report(self._computer, report)
        for record in instances:
            self._acknowledged(record)
        for each in software:
            self._software_acknowledged(each)
        return len(instances) + len(software)

    def _acknowledged(self, record: InstanceRecord) -> None:
        if record.report.state is not ReportedInstanceState.DESTROYED:
            self._store.mark_told(record.partition, record.report)
            return
        self._store.forget_instance(record.guid)
        self._store.delete_instance_record(record.partition)
        self._gone(record.partition)

    def _software_acknowledged(self, record: SoftwareRecord) -> None:
        if record.report.state is ReportedSupplyState.DESTROYED:
            self._store.forget_supply(record.url)
        else:
            self._store.mark_software_told(record.report)


def _untold(records: Iterable[Recorded | None]) -> list[Recorded]:
    return [record for record in records if record and not record.told]
