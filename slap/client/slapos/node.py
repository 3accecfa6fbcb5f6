"""The node's part of the classic protocol: what a computer shall be, and telling what it is."""

import logging
from collections.abc import Iterable

from slap.client.identity import Speaker
from slap.client.master import Master
from slap.client.slapos import reports, state_diff
from slap.client.slapos.documents import ComputerSaid, PartitionSaid, read_computer
from slap.client.slapos.http import Wire, text
from slap.client.slapos.poll_interval import Pace
from slap.client.slapos.register import computer_of, format_document
from slap.client.slapos.reports import Told
from slap.model.computer import Computer, ComputerConfiguration, ComputerRegistration, RegisteredComputer
from slap.model.node import DesiredState, InstanceReport, NodeReport
from slap.system.clock import Clock

log = logging.getLogger(__name__)


class NodeSide(Master):
    """What a computer asks and tells. The transport's certificate says which computer it is."""

    def __init__(self, wire: Wire, clock: Clock) -> None:
        self._wire = wire
        self._clock = clock
        self._pace = Pace(clock, shortest=1, longest=10)
        self._state: DesiredState | None = None
        self._told: dict[str, dict[str, Told]] = {}

    def register_computer(self, registration: ComputerRegistration) -> RegisteredComputer:
        """slapproxy takes whatever computer comes: nothing is asked, and there is no token."""
        guid = registration.guid or registration.title
        return RegisteredComputer(guid=guid, title=registration.title, token="")

    def computer(self, guid: str) -> Computer:
        return computer_of(self._computer(guid))

    def configure_computer(self, guid: str, configuration: ComputerConfiguration) -> Computer:
        self._wire.post("loadComputerConfigurationFromXML", {"xml": text(format_document(guid, configuration))})
        return self.computer(guid)

    def bang_computer(self, guid: str, message: str) -> None:
        self._wire.post("computerBang", {"computer_id": guid, "message": message})

    def desired_state(self, guid: str, since: int = 0, wait: float = 0, incarnation: str | None = None) -> DesiredState:
        """The master cannot hold the question: it is asked again and again, until something changed.

        Revisions are digests here: there is no incarnation beside them.
        """
        end = self._clock.monotonic() + wait
        while True:
            now, took = self._asked(guid)
            if now.revision != since:
                self._pace.quicken()
                break
            if not self._pace.rest(took, end - self._clock.monotonic()):
                break
        answer = state_diff.changes(self._state, now, since)
        self._state = now
        return answer

    def report(self, guid: str, report: NodeReport) -> None:
        """Tells what is news to the master. What it does not know any more is not told, nor are lines of logs."""
        for supply in report.supplies:
            self._tell(reports.of_supply(guid, supply))
        said = self._computer(guid) if report.instances else None
        for each in report.instances:
            partition = said and reports.partition_of(said, each.guid)
            if partition:
                self._tell_of(guid, partition, each)

    def report_journal(self, guid: str, journal: bytes) -> None:
        self._wire.post("useComputer", {"computer_id": guid, "use_string": journal.decode()})

    def _tell_of(self, computer: str, partition: PartitionSaid, report: InstanceReport) -> None:
        if reports.may_be_told(partition, report):
            self._tell(reports.of_instance(computer, partition, report), Speaker(computer, partition.name))

    def _tell(self, calls: Iterable[Told], speaker: Speaker | None = None) -> None:
        for told in calls:
            known = self._told.setdefault(told.subject, {})
            if known.get(told.about) != told:
                self._wire.post(told.path, told.form, speaker)
                known[told.about] = told
            if told.is_last:
                del self._told[told.subject]

    def _asked(self, guid: str) -> tuple[DesiredState, float]:
        """The state now, and how many seconds the master took to tell it."""
        began = self._clock.monotonic()
        said = self._computer(guid)
        took = self._clock.monotonic() - began
        if said.unread:
            log.warning("It is not understood what shall be in %s: left as it is.", ", ".join(said.unread))
        return state_diff.whole_state(said), took

    def _computer(self, guid: str) -> ComputerSaid:
        return read_computer(self._wire.get("getFullComputerInformation", computer_id=guid))
