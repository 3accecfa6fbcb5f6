"""Reports to the master: sent at once, many in one request, repeated until acknowledged."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from slap.client.batch import BatchSender, is_about_elements
from slap.client.master import Master
from slap.model.errors import SlapError
from slap.model.node import InstanceReport, NodeReport, SupplyReport
from slap.model.state import ReportedInstanceState, ReportedSupplyState
from slap.node.core.scheduler import delay
from slap.node.core.store import InstanceRecord, SoftwareRecord, Store

Recorded = TypeVar("Recorded", InstanceRecord, SoftwareRecord)

log = logging.getLogger(__name__)

# Seconds that progress on the way, which is about to be overtaken, waits to be told.
_MOMENT = 0.1


@dataclass
class _Dirty:
    """What to report. `last_words` are reports that could not be stored."""

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
    """Collects changes while a request is under way, so N changes at once take far fewer than N requests.

    An element that the master refuses is reported as an error, so that it holds up no other. `gone` is called with the
    partition of an instance that the master knows to be destroyed.
    """

    def __init__(self, computer: str, master: Callable[[], Master], store: Store, gone: Callable[[str], None]) -> None:
        self._computer = computer
        self._master = master
        self._store = store
        self._gone = gone
        self._instances = BatchSender(self._send, self._refuse)
        self._software = BatchSender(self._send_software, self._refuse_software)
        self._last_words = BatchSender(self._send_words, _drop)
        self._changed = threading.Condition()
        self._dirty = _Dirty()
        self._failures = 0
        self._urgent = False
        self._stopped = False

    def notify(self, partition: str, urgent: bool = True) -> None:
        """Report a partition's record if it changed. What is not urgent waits a moment for more."""
        with self._changed:
            self._dirty.partitions.add(partition)
            self._urgent |= urgent
            self._changed.notify_all()

    def report(self, report: InstanceReport | SupplyReport) -> None:
        """Send a report once that cannot be stored."""
        with self._changed:
            if isinstance(report, InstanceReport):
                self._dirty.last_words[report.guid] = NodeReport(instances=(report,))
            else:
                self._dirty.last_words[report.url] = NodeReport(supplies=(report,))
            self._urgent = True
            self._changed.notify_all()

    def notify_software(self, url: str) -> None:
        with self._changed:
            self._dirty.urls.add(url)
            self._urgent = True
            self._changed.notify_all()

    def requeue_unreported(self) -> None:
        """Queue everything that the master never acknowledged; called after a start."""
        for record in self._store.instance_records():
            if not record.told:
                self.notify(record.partition)
        for software in self._store.software_records():
            if not software.told:
                self.notify_software(software.url)

    def flush(self) -> int:
        """Send all queued reports; returns how many. Raises the master's error."""
        with self._changed:
            dirty, self._dirty = self._dirty, _Dirty()
        try:
            instances = _untold(self._store.instance_record(name) for name in sorted(dirty.partitions))
            software = _untold(self._store.software_record(url) for url in sorted(dirty.urls))
            self._instances.send_all(instances)
            self._software.send_all(software)
            self._last_words.send_all(list(dirty.last_words.values()))
            told = len(instances) + len(software)
            dirty = _Dirty()
            return told
        finally:  # whatever went wrong, nothing is left untold
            with self._changed:
                self._dirty.add(dirty)

    def run(self) -> None:
        """Send reports until `stop`, with back-off while the master is away."""
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

    def _report(self, report: NodeReport) -> None:
        self._master().report(self._computer, report.model_copy(update={"incarnation": self._store.incarnation()}))

    def _send(self, records: Sequence[InstanceRecord]) -> None:
        self._report(NodeReport(instances=tuple(each.report for each in records)))
        for record in records:
            self._acknowledged(record)

    def _send_software(self, records: Sequence[SoftwareRecord]) -> None:
        self._report(NodeReport(supplies=tuple(each.report for each in records)))
        for record in records:
            self._software_acknowledged(record)

    def _send_words(self, reports: Sequence[NodeReport]) -> None:
        instances = tuple(each for report in reports for each in report.instances)
        self._report(NodeReport(instances=instances, supplies=tuple(each for one in reports for each in one.supplies)))

    def _refuse(self, record: InstanceRecord, error: SlapError) -> None:
        """Report in place of a refused report that the instance is in error; destroyed stays destroyed."""
        log.error("The master refused the report of %s: %s", record.partition, error)
        known = record.report
        report = InstanceReport(guid=known.guid, revision=known.revision, state=ReportedInstanceState.DESTROYED)
        if known.state is not ReportedInstanceState.DESTROYED:
            report = report.model_copy(update={"state": ReportedInstanceState.ERROR, "message": _refused(error)})
        if self._is_received(NodeReport(instances=(report,))):
            self._acknowledged(record)

    def _refuse_software(self, record: SoftwareRecord, error: SlapError) -> None:
        log.error("The master refused the report of %s: %s", record.url, error)
        report = record.report.model_copy(update={"message": _refused(error), "log": ""})
        if self._is_received(NodeReport(supplies=(report,))):
            self._software_acknowledged(record)

    def _is_received(self, report: NodeReport) -> bool:
        """Whether the master accepted a report on one element; raises when it accepts none now."""
        try:
            self._report(report)
        except SlapError as error:
            if not is_about_elements(error):
                raise
            log.error("The master does not even take: %s", error)
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


def _drop(report: NodeReport, error: SlapError) -> None:
    log.error("The master refused a report that is not repeated: %s", error)


def _refused(error: SlapError) -> str:
    return f"The master does not take what is reported here: {error}"


def _untold(records: Iterable[Recorded | None]) -> list[Recorded]:
    return [record for record in records if record and not record.told]
