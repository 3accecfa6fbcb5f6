"""Telling the master what is: at once, many reports in one request, again and again until it was heard."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from slap.client.master import Master
from slap.model.errors import InvalidInput, SlapError
from slap.model.node import InstanceReport, NodeReport, SupplyReport
from slap.model.state import ReportedInstanceState, ReportedSupplyState
from slap.node.backoff import delay
from slap.node.store import InstanceRecord, SoftwareRecord, Store

Recorded = TypeVar("Recorded", InstanceRecord, SoftwareRecord)

log = logging.getLogger(__name__)

# Seconds that progress on the way, which is about to be overtaken, waits to be told.
_MOMENT = 0.1

# Reports in one request: what is larger than a master takes would never be heard.
_MOST_AT_ONCE = 500


@dataclass
class _Dirty:
    """What is to be told. `last_words` are of what has no record, because none can be written."""

    partitions: set[str] = field(default_factory=set)
    urls: set[str] = field(default_factory=set)
    last_words: dict[str, NodeReport] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.partitions or self.urls or self.last_words)

    def add(self, other: "_Dirty") -> None:
        self.partitions |= other.partitions
        self.urls |= other.urls
        self.last_words = other.last_words | self.last_words


class Reporter:
    """Collects what changed while a request is under way, so N changes at once cost far fewer than N requests.

    A report that the master refuses is left out, so that it holds back no other. `gone` is called with the partition of
    an instance that the master knows to be destroyed.
    """

    def __init__(self, computer: str, master: Callable[[], Master], store: Store, gone: Callable[[str], None]) -> None:
        self._computer = computer
        self._master = master
        self._store = store
        self._gone = gone
        self._changed = threading.Condition()
        self._dirty = _Dirty()
        self._failures = 0
        self._urgent = False
        self._stopped = False

    def poke(self, partition: str, urgent: bool = True) -> None:
        """There may be something new to tell of a partition. What is not urgent waits a moment for what comes next."""
        with self._changed:
            self._dirty.partitions.add(partition)
            self._urgent |= urgent
            self._changed.notify_all()

    def say(self, report: InstanceReport | SupplyReport) -> None:
        """Tell once what cannot be remembered."""
        with self._changed:
            if isinstance(report, InstanceReport):
                self._dirty.last_words[report.guid] = NodeReport(instances=(report,))
            else:
                self._dirty.last_words[report.url] = NodeReport(supplies=(report,))
            self._urgent = True
            self._changed.notify_all()

    def poke_software(self, url: str) -> None:
        with self._changed:
            self._dirty.urls.add(url)
            self._urgent = True
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
            told = self._tell(dirty)
            dirty = _Dirty()
            return told
        finally:  # whatever went wrong, nothing is left untold
            with self._changed:
                self._dirty.add(dirty)

    def run(self) -> None:
        """Tell until `stop`; with the master gone, back off."""
        while self._wait(self._failures):
            try:
                self._failures += 1
                self.flush()
                self._failures = 0
            except SlapError as error:
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
            self._changed.wait_for(lambda: self._stopped or self._urgent, _MOMENT)
            self._urgent = False
            return not self._stopped

    def _tell(self, dirty: _Dirty) -> int:
        instances = _untold(self._store.instance_record(name) for name in sorted(dirty.partitions))
        software = _untold(self._store.software_record(url) for url in sorted(dirty.urls))
        for some in _batches(instances):
            self._send(some)
        for each in _batches(software):
            self._send_software(each)
        for report in dirty.last_words.values():
            self._heard(report)
        return len(instances) + len(software)

    def _send(self, records: Sequence[InstanceRecord]) -> None:
        if self._heard(NodeReport(instances=tuple(each.report for each in records))):
            for record in records:
                self._acknowledged(record)
        elif len(records) > 1:
            for record in records:
                self._send([record])

    def _send_software(self, records: Sequence[SoftwareRecord]) -> None:
        if self._heard(NodeReport(supplies=tuple(each.report for each in records))):
            for record in records:
                self._software_acknowledged(record)
        elif len(records) > 1:
            for record in records:
                self._send_software([record])

    def _heard(self, report: NodeReport) -> bool:
        """Whether the master took it, or found fault with it; raises when it takes nothing now."""
        try:
            self._master().report(self._computer, report)
        except InvalidInput as error:
            log.error("The master refused a report: %s", error)
            return False
        return True

    def _acknowledged(self, record: InstanceRecord) -> None:
        if record.report.state is not ReportedInstanceState.DESTROYED:
            self._store.mark_told(record.partition, record.report)
            return
        self._store.forget_instance(record.guid)
        self._store.delete_instance_record(record.partition, record.guid)
        self._gone(record.partition)

    def _software_acknowledged(self, record: SoftwareRecord) -> None:
        if record.report.state is ReportedSupplyState.DESTROYED:
            self._store.forget_supply(record.url)
        else:
            self._store.mark_software_told(record.report)


def _batches(records: Sequence[Recorded]) -> Iterable[Sequence[Recorded]]:
    return (records[start : start + _MOST_AT_ONCE] for start in range(0, len(records), _MOST_AT_ONCE))


def _untold(records: Iterable[Recorded | None]) -> list[Recorded]:
    return [record for record in records if record and not record.told]
