"""What can be asked of a master, whichever protocol it speaks."""

from slap.model.computer import Computer, ComputerConfiguration, ComputerRegistration, RegisteredComputer
from slap.model.errors import NotOffered
from slap.model.instance import Answer, HistoryEntry, Instance, InstanceRequest, InstanceTree, Plan
from slap.model.node import DesiredState, NodeReport
from slap.model.software import SoftwareRelease, Supply, SupplyRequest
from slap.model.usage import UsageReport, UsageSeries


class Master:
    """Every method raises the master's own error, Unreachable, or NotOffered by a master that has no answer to it.

    Use one per thread.
    """

    def register_computer(self, registration: ComputerRegistration) -> RegisteredComputer:
        raise _not_offered("register computers")

    def computers(self) -> list[Computer]:
        raise _not_offered("list computers")

    def computer(self, guid: str) -> Computer:
        raise _not_offered("describe a computer")

    def configure_computer(self, guid: str, configuration: ComputerConfiguration) -> Computer:
        raise _not_offered("be told of partitions")

    def new_computer_token(self, guid: str) -> RegisteredComputer:
        """A new token for a computer; the ones before it stop working."""
        raise _not_offered("make a token for a computer")

    def bang_computer(self, guid: str, message: str) -> None:
        raise _not_offered("have a computer processed again")

    def desired_state(self, guid: str, since: int = 0, wait: float = 0, incarnation: str | None = None) -> DesiredState:
        """What changed after revision `since`; with nothing changed, answers after at most `wait` seconds.

        All of it when `since` is no revision of that `incarnation` of the master's database; None: of any.
        """
        raise _not_offered("say what a computer shall be")

    def report(self, guid: str, report: NodeReport) -> None:
        raise _not_offered("be told what a computer is")

    def report_usage(self, guid: str, report: UsageReport) -> None:
        raise _not_offered("be told what partitions use")

    def report_journal(self, guid: str, journal: bytes) -> None:
        """Tell what partitions used on one day, in TioXML."""
        raise _not_offered("be told what partitions used on a day")

    def computer_usage(self, guid: str) -> list[UsageSeries]:
        """What each instance on a computer used in the last day."""
        raise _not_offered("tell what instances use")

    def usage(self, guid: str) -> UsageSeries:
        """What an instance used in the last day."""
        raise _not_offered("tell what an instance uses")

    def supply(self, request: SupplyRequest) -> Supply:
        raise _not_offered("supply software")

    def supplies(self, computer: str = "", url: str = "") -> list[Supply]:
        raise _not_offered("list supplies")

    def releases(self) -> list[SoftwareRelease]:
        raise _not_offered("list software releases")

    def request(self, request: InstanceRequest) -> Instance:
        raise _not_offered("take orders")

    def plan(self, request: InstanceRequest) -> Plan:
        raise _not_offered("plan an order without placing it")

    def instances(self, reference: str = "") -> list[Instance]:
        """The root instances of the caller, without the destroyed ones; or the one of that reference."""
        raise _not_offered("list instances")

    def instance(self, guid: str) -> Instance:
        raise _not_offered("describe an instance")

    def answer(self, child: str, wait: float) -> Answer:
        """What a child of this partition published, as soon as it published, and after at most `wait` seconds."""
        raise _not_offered("tell what a child published")

    def tree(self, root: str, since: int = 0, wait: float = 0, incarnation: str | None = None) -> InstanceTree:
        """A whole tree, as soon as its revision is not `since` of `incarnation`, and after at most `wait` seconds."""
        raise _not_offered("show a tree")

    def history(self, guid: str) -> list[HistoryEntry]:
        raise _not_offered("tell what was requested before")

    def bang_instance(self, guid: str, message: str) -> None:
        """Reprocess all partitions of the tree of this instance."""
        raise _not_offered("have an instance processed again")

    def rename_instance(self, guid: str, name: str) -> Instance:
        """Call an instance otherwise; its requester finds it under the new name only."""
        raise _not_offered("rename an instance")

    def logs(self, guid: str, lines: int = 100) -> str:
        """The last lines of an instance's logs, brought by its node."""
        raise _not_offered("bring the logs of a service")


def _not_offered(what: str) -> NotOffered:
    return NotOffered(
        f"This master cannot {what}.",
        "It speaks an older protocol, in which nobody can ask for that.",
        "Ask its operator.",
    )
