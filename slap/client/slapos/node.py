"""The node's part of the slap tool protocol: read the desired state of a computer, and report its actual state."""

import logging
from collections.abc import Iterable

from slap.client.identity import PartitionIdentity
from slap.client.master import Master
from slap.client.slapos import reports, state_diff
from slap.client.slapos.documents import ComputerDescription, PartitionDescription, parse_computer
from slap.client.slapos.http import SlapToolClient, marshal_value
from slap.client.slapos.poll_interval import PollInterval
from slap.client.slapos.register import describe_computer, format_document
from slap.client.slapos.reports import ReportCall
from slap.model.computer import Computer, ComputerConfiguration, ComputerRegistration, RegisteredComputer
from slap.model.node import DesiredState, InstanceReport, NodeReport
from slap.system.clock import Clock

log = logging.getLogger(__name__)


class SlaposNodeMaster(Master):
    """What a computer asks and tells. The transport's certificate says which computer it is."""

    def __init__(self, wire: SlapToolClient, clock: Clock) -> None:
        self._client = wire
        self._clock = clock
        self._poll_interval = PollInterval(clock, shortest=1, longest=10)
        self._state: DesiredState | None = None
        self._reported: dict[str, dict[str, ReportCall]] = {}

    def register_computer(self, registration: ComputerRegistration) -> RegisteredComputer:
        """slapproxy takes whatever computer comes: nothing is asked, and there is no token."""
        guid = registration.guid or registration.title
        return RegisteredComputer(guid=guid, title=registration.title, token="")

    def computer(self, guid: str) -> Computer:
        return describe_computer(self._computer(guid))

    def configure_computer(self, guid: str, configuration: ComputerConfiguration) -> Computer:
        self._client.post(
            "loadComputerConfigurationFromXML", {"xml": marshal_value(format_document(guid, configuration))}
        )
        return self.computer(guid)

    def bang_computer(self, guid: str, message: str) -> None:
        self._client.post("computerBang", {"computer_id": guid, "message": message})

    def desired_state(self, guid: str, since: int = 0, wait: float = 0, incarnation: str | None = None) -> DesiredState:
        """The master cannot hold the question: it is asked again and again, until something changed.

        Revisions are digests here: there is no incarnation beside them.
        """
        end = self._clock.monotonic() + wait
        while True:
            now, took = self._poll(guid)
            if now.revision != since:
                self._poll_interval.quicken()
                break
            if not self._poll_interval.rest(took, end - self._clock.monotonic()):
                break
        answer = state_diff.diff_states(self._state, now, since)
        self._state = now
        return answer

    def report(self, guid: str, report: NodeReport) -> None:
        """Tells what is news to the master. What it does not know any more is not told, nor are lines of logs."""
        for supply in report.supplies:
            self._send_calls(reports.supply_calls(guid, supply))
        said = self._computer(guid) if report.instances else None
        for each in report.instances:
            partition = said and reports.find_partition(said, each.guid)
            if partition:
                self._report_instance(guid, partition, each)

    def report_journal(self, guid: str, journal: bytes) -> None:
        self._client.post("useComputer", {"computer_id": guid, "use_string": journal.decode()})

    def _report_instance(self, computer: str, partition: PartitionDescription, report: InstanceReport) -> None:
        if reports.is_reportable(partition, report):
            self._send_calls(
                reports.instance_calls(computer, partition, report), PartitionIdentity(computer, partition.name)
            )

    def _send_calls(self, calls: Iterable[ReportCall], identity: PartitionIdentity | None = None) -> None:
        for told in calls:
            known = self._reported.setdefault(told.subject, {})
            if known.get(told.about) != told:
                self._client.post(told.path, told.form, identity)
                known[told.about] = told
            if told.is_last:
                del self._reported[told.subject]

    def _poll(self, guid: str) -> tuple[DesiredState, float]:
        """The state now, and how many seconds the master took to tell it."""
        began = self._clock.monotonic()
        said = self._computer(guid)
        took = self._clock.monotonic() - began
        if said.unread:
            log.warning("It is not understood what shall be in %s: left as it is.", ", ".join(said.unread))
        return state_diff.complete_state(said), took

    def _computer(self, guid: str) -> ComputerDescription:
        return parse_computer(self._client.get("getFullComputerInformation", computer_id=guid))
