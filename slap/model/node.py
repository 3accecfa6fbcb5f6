"""What a master and a node tell each other: the desired state of a computer, and reports of what is."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from slap.model.base import Frozen, Parameters, PartitionName
from slap.model.promise import PromiseResult
from slap.model.resources.limits import NO_LIMITS, Limits
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState, SupplyState

Reported = TypeVar("Reported", ReportedInstanceState, ReportedSupplyState)


def _is_known(state: Reported) -> Reported:
    """A node knows what it sees; `unknown` is for those who are not told."""
    if state.value == "unknown":
        raise ValueError("a node cannot report that")
    return state


class DesiredSupply(Frozen):
    """A software release that this computer shall, or shall no longer, have; `revision` grows with each supply."""

    url: str
    state: SupplyState
    revision: int


class DesiredSharedInstance(Frozen):
    """A shared instance that the instance of a partition shall serve."""

    guid: str
    reference: str
    root_reference: str
    software_type: str
    parameters: Parameters
    state: InstanceState
    revision: int = 0


class DesiredInstance(Frozen):
    """An instance that shall be in a partition of this computer.

    `children` grows when the connection parameters of an instance that this one requested change, `bang` when somebody
    wants it processed again. Either one, like any other difference in this document, has the partition reprocessed.
    """

    guid: str
    partition: PartitionName
    reference: str
    root: str
    root_reference: str
    software_release: str
    software_type: str
    parameters: Parameters
    state: InstanceState
    bang: int = 0
    children: int = 0
    shared: tuple[DesiredSharedInstance, ...] = ()
    revision: int = 0  # of the computer, when this instance last changed for its node
    limits: Limits = Field(default=NO_LIMITS, exclude_if=lambda limits: limits == NO_LIMITS)  # as requested
    token: str = Field(repr=False)  # by which the partition speaks to the master


class LogRequest(Frozen):
    """Somebody wants the last lines of the logs of an instance."""

    id: str
    instance: str
    partition: PartitionName
    lines: int


class DesiredState(Frozen):
    """All that a computer shall be (`since` = 0), or only what changed since a revision.

    An instance stays in here as destroyed until its node reported it destroyed, so a change never needs a tombstone. A
    master that keeps no such instances names in `complete` the partitions of which this is all that shall be in them:
    whatever else its node has there is gone.
    """

    computer: str
    revision: int
    since: int
    supplies: tuple[DesiredSupply, ...] = ()
    instances: tuple[DesiredInstance, ...] = ()
    logs: tuple[LogRequest, ...] = ()
    complete: tuple[PartitionName, ...] = ()


class SupplyReport(Frozen):
    """What a node sees of a software release; `log` is the tail of the build log when it failed.

    `revision` is that of the supply that the node acted upon.
    """

    url: str
    revision: int = 0
    state: Annotated[ReportedSupplyState, AfterValidator(_is_known)]
    message: str = ""
    log: str = ""


class InstanceReport(Frozen):
    """What a node sees of an instance; `connection` is None when the instance did not publish (anew).

    `revision` is that of the desired instance that the node acted upon: it tells news from leftovers. `shared` has by
    guid the connection parameters of the shared instances that it serves, None when it did not publish any (anew).
    """

    guid: str
    revision: int = 0
    state: Annotated[ReportedInstanceState, AfterValidator(_is_known)]
    message: str = ""
    promises: tuple[PromiseResult, ...] = ()
    connection: Parameters | None = None
    shared: dict[str, Parameters] | None = None


class LogAnswer(Frozen):
    """The lines that a log request asked for."""

    id: str
    text: str


class NodeReport(Frozen):
    """Any number of reports in one request; repeating one changes nothing."""

    supplies: tuple[SupplyReport, ...] = ()
    instances: tuple[InstanceReport, ...] = ()
    logs: tuple[LogAnswer, ...] = ()


class PartitionContext(Frozen):
    """All that a partition may know of itself: the agent writes it, the recipes of the instance profile read it.

    It lies in the partition as `.slapos-context.json`, readable by the partition's user alone.
    """

    master_url: str
    computer: str
    software_path: str  # folder of the built release
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    tap: str = ""  # the interface that its user's programs may open
    authority: str = ""  # file by which the master's certificate is checked; empty: by the system's authorities
    images: str = ""  # folder of the images that machines start from
    firewall: bool = False  # whether the node keeps this partition from what is not its business
    patience: float = 0  # seconds that this instantiation may wait for what a child publishes
    instance: DesiredInstance


class Requested(Frozen):
    """A child as the recipes note it before they order it; `keep`: it stays when its part leaves the profile."""

    reference: str
    software_release: str
    software_type: str
    shared: bool = False
    keep: bool = False


CONTEXT_FILE = ".slapos-context.json"
ANSWERED_FILE = ".slapos-children"  # up to which of its children's news an instantiation was answered
REQUESTED_FILE = ".slapos-requested"  # the children that an instantiation requested, a line each
SHARED_FOLDER = ".slapos-shared"  # files of publish-shared: what is published, by the guids of shared instances
CONNECTION_FILE = ".slapos-connection.json"  # what the publish recipe leaves for the agent to report
PUBLISHED_FILE = ".slapos-published.json"  # what a service adds to that while it runs: a JSON object
