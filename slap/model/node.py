"""What a master and a node tell each other: the desired state of a computer, and reports of what is."""

import logging
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, FailFast, Field, StringConstraints, ValidationError
from pydantic_core import from_json

from slap.model.base import Frozen, PartitionName
from slap.model.promise import PromiseResult
from slap.model.resources.limits import NO_LIMITS, Limits
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState, SupplyState
from slap.model.values import (
    MAX_LINE_LENGTH,
    NOT_IN_WORDS,
    AnswerText,
    Count,
    Line,
    LogText,
    Message,
    Parameters,
    Word,
    first_reason,
    unstorable_reason,
)

log = logging.getLogger(__name__)

Reported = TypeVar("Reported", ReportedInstanceState, ReportedSupplyState)


def _is_empty(text: str) -> bool:
    return not text


def _is_known(state: Reported) -> Reported:
    """A node knows what it sees; `unknown` is for those who are not told."""
    if state.value == "unknown":
        raise ValueError("a node cannot report that")
    return state


MAX_REPORTS = 2000  # of one kind in one document
MAX_PROMISES = 1000  # of one instance
MAX_LOG_LINES = 10_000

# Which history of the master's database a revision belongs to: a database that is restored goes on with another one.
Incarnation = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,64}$")]


class DesiredSupply(Frozen):
    """A software release that this computer shall, or shall no longer, have; `revision` grows with each supply."""

    url: Line = Field(min_length=1)
    state: SupplyState
    revision: Count


class DesiredSharedInstance(Frozen):
    """A shared instance that the instance of a partition shall serve."""

    guid: Word
    reference: Word
    root_reference: Word
    software_type: Word
    parameters: Parameters
    state: InstanceState
    revision: Count = 0


class DesiredInstance(Frozen):
    """An instance that shall be in a partition of this computer.

    `children` grows when the connection parameters of an instance that this one requested change, `bang` when somebody
    wants it processed again. Either one, like any other difference in this document, has the partition reprocessed.
    """

    guid: Word = Field(min_length=1)
    partition: PartitionName
    reference: Word
    root: Word
    root_reference: Word
    software_release: Line
    software_type: Word
    parameters: Parameters
    state: InstanceState
    bang: Count = 0
    children: Count = 0
    shared: tuple[DesiredSharedInstance, ...] = ()
    revision: Count = 0  # of the computer, when this instance last changed for its node
    limits: Limits = Field(default=NO_LIMITS, exclude_if=lambda limits: limits == NO_LIMITS)  # as requested
    token: str = Field(
        pattern=r"^[\x21-\x7e]*$", max_length=MAX_LINE_LENGTH, repr=False
    )  # by which the partition speaks to the master


class LogRequest(Frozen):
    """Somebody wants the last lines of the logs of an instance."""

    id: Word
    instance: Word
    partition: PartitionName
    lines: int = Field(ge=1, le=MAX_LOG_LINES)


class DesiredState(Frozen):
    """All that a computer shall be (`since` = 0), or only what changed since a revision.

    An instance stays in here as destroyed until its node reported it destroyed, so a change never needs a tombstone. A
    master that keeps no such instances names in `complete` the partitions of which this is all that shall be in them:
    whatever else its node has there is gone.

    A revision counts changes within one `incarnation` of the master's database. It is empty for a node that does not
    know of incarnations, and from a master that has none.
    """

    computer: Word
    revision: Count
    since: Count
    incarnation: Incarnation = Field(default="", exclude_if=_is_empty)
    supplies: tuple[DesiredSupply, ...] = ()
    instances: tuple[DesiredInstance, ...] = ()
    logs: tuple[LogRequest, ...] = ()
    complete: tuple[PartitionName, ...] = ()
    unusable: dict[Word, Message] = Field(default_factory=dict, exclude=True)  # by guid, why an instance was left out


def parse_desired_state(document: bytes) -> DesiredState:
    """A desired state as its master sent it. What a node cannot use is left out, so that it holds up nothing else.

    Raises ValueError when the document itself is not usable.
    """
    try:
        return DesiredState.model_validate_json(document)
    except ValidationError:
        return _usable_part(from_json(document))


def _usable_part(document: Any) -> DesiredState:
    kept = dict(document) if isinstance(document, dict) else {}
    unusable: dict[str, str] = {}
    for name, kind in (("supplies", DesiredSupply), ("instances", DesiredInstance), ("logs", LogRequest)):
        elements = kept.get(name)
        if isinstance(elements, list):
            kept[name] = [each for each in elements if _is_usable(kind, each, unusable)]
    return DesiredState.model_validate({**kept, "unusable": unusable})


def _is_usable(kind: type[Frozen], element: Any, unusable: dict[str, str]) -> bool:
    try:
        kind.model_validate(element)
    except ValidationError as error:
        reason = first_reason(error)
        log.error("The master's desired state has a %s that is not usable: %s", kind.__name__, reason)
        guid = element.get("guid") if isinstance(element, dict) else None
        if isinstance(guid, str) and guid and not unstorable_reason(guid, MAX_LINE_LENGTH, NOT_IN_WORDS):
            unusable[guid] = reason
        return False
    return True


class SupplyReport(Frozen):
    """What a node sees of a software release; `log` is the tail of the build log when it failed.

    `revision` is that of the supply that the node acted upon.
    """

    url: Line
    revision: Count = 0
    state: Annotated[ReportedSupplyState, AfterValidator(_is_known)]
    message: Message = ""
    log: LogText = ""


class InstanceReport(Frozen):
    """What a node sees of an instance; `connection` is None when the instance did not publish (anew).

    `revision` is that of the desired instance that the node acted upon: it tells news from leftovers. `shared` has by
    guid the connection parameters of the shared instances that it serves, None when it did not publish any (anew).
    """

    guid: Word
    revision: Count = 0
    state: Annotated[ReportedInstanceState, AfterValidator(_is_known)]
    message: Message = ""
    promises: Annotated[tuple[PromiseResult, ...], FailFast()] = Field(default=(), max_length=MAX_PROMISES)
    connection: Parameters | None = None
    shared: dict[Word, Parameters] | None = None


class LogAnswer(Frozen):
    """The lines that a log request asked for."""

    id: Word
    text: AnswerText


class NodeReport(Frozen):
    """Any number of reports in one request; repeating one changes nothing.

    Their revisions belong to an `incarnation` of the master's database; empty: the node does not know of any.
    """

    supplies: Annotated[tuple[SupplyReport, ...], FailFast()] = Field(default=(), max_length=MAX_REPORTS)
    instances: Annotated[tuple[InstanceReport, ...], FailFast()] = Field(default=(), max_length=MAX_REPORTS)
    logs: Annotated[tuple[LogAnswer, ...], FailFast()] = Field(default=(), max_length=MAX_REPORTS)
    incarnation: Incarnation = Field(default="", exclude_if=_is_empty)


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
