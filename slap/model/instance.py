"""Instances and instance trees: what is requested, what came of it, and what had been requested before."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, FailFast, Field, computed_field

from slap.model.base import Frozen, Name
from slap.model.promise import PromiseResult
from slap.model.resources.limits import NO_LIMITS, Limits
from slap.model.serialisation import Serialisation
from slap.model.software import DEFAULT_TYPE
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState, Status, derive_status
from slap.model.values import Amount, Line, Parameters, StoredParameters


class Spread(StrEnum):
    """How the instances of one tree keep away from each other."""

    NONE = ""
    BY_COMPUTER = "unique_by_computer"
    BY_NETWORK = "unique_by_network"


class Sla(Frozen):
    """Where an instance may be placed; empty fields filter nothing.

    `instance`: the guid of the instance that shall serve a shared one. `spread`: no other instance of the tree is on the
    same computer, or in the same network. Two filter nothing: `retention` (days) says how long a node keeps what a
    destroyed instance leaves, `limits` what the instance may use of its computer.
    """

    computer: Line = ""
    network: Line = ""
    labels: dict[Line, Line] = Field(default_factory=dict)
    capabilities: Annotated[frozenset[Line], FailFast()] = frozenset()
    instance: Line = ""
    spread: Spread = Spread.NONE
    retention: Amount = 0
    limits: Limits = Field(default=NO_LIMITS, exclude_if=lambda limits: limits == NO_LIMITS)


ANYWHERE = Sla()


class InstanceRequest(Frozen):
    """Ask for an instance, or for a change of it: (requester, reference) names the instance.

    A shared instance has no partition of its own: an instance of the same release and type serves it from its partition.
    """

    reference: Name
    software_release: Line
    software_type: Name = DEFAULT_TYPE  # also part of the name of an instance template
    parameters: Parameters = Field(default_factory=dict)
    state: InstanceState = InstanceState.STARTED
    sla: Sla = Field(default_factory=lambda: ANYWHERE)  # a default would be copied for each request
    shared: bool = False
    serialisation: Serialisation = Serialisation.NONE  # how a classic node gets the parameters, unless its release says


class Renaming(Frozen):
    """What an instance is to be called from now on."""

    name: Name


class Instance(Frozen):
    """An instance as its requester sees it.

    `revision` is that of the whole tree: it grows when anything in the tree is requested or reported, and is what
    `since` is compared with when somebody waits for news.
    """

    # What is derived, `status`, travels too and is derived again by whoever reads it.
    model_config = ConfigDict(extra="ignore")

    guid: str
    reference: str
    requester: str  # user:NAME or the guid of an instance
    root: str  # guid of the root of the tree; its own for a root instance
    software_release: str
    software_type: str
    parameters: StoredParameters
    sla: Sla
    shared: bool = False
    host: str = ""  # guid of the instance that serves a shared one
    serves: int = 0  # how many shared instances it serves
    serialisation: Serialisation = Serialisation.NONE
    requested: InstanceState
    reported: ReportedInstanceState
    is_current: bool = True  # whether what was reported is about what is requested now, or about something before it
    message: str = ""  # why it is not as requested, in the words of what failed
    promises: tuple[PromiseResult, ...] = ()
    connection: StoredParameters = Field(default_factory=dict)
    published: Serialisation = Serialisation.NONE  # how the connection came, if a classic node published it
    computer: str
    partition: str  # of a shared instance: that of the instance which serves it
    placed_by: str = ""  # the URL of the master that placed it, when that is another one
    addresses: tuple[str, ...] = ()
    software: ReportedSupplyState = ReportedSupplyState.NONE  # of the release on that computer
    software_message: str = ""
    revision: int
    created_at: datetime
    changed_at: datetime  # when it was last requested or reported differently

    @computed_field  # type: ignore[prop-decorator]
    @property
    def status(self) -> Status:
        return derive_status(self.requested, self.reported, self.is_current)


class Answer(Frozen):
    """What a child published, and the count of such news that its parent's desired state has, both read at once."""

    child: Instance
    children: int


class InstanceTree(Frozen):
    """A root instance and all that its partitions requested, parents before children."""

    root: Instance
    instances: tuple[Instance, ...]
    revision: int
    incarnation: str = Field(default="", exclude_if=lambda incarnation: not incarnation)  # that the revision counts in

    @property
    def is_settled(self) -> bool:
        return all(instance.status.is_settled for instance in self.instances)


class FieldChange(Frozen):
    """One difference between two requests: a dotted path ("parameters.port"), and the JSON text before and after.

    `effect` is what the release says about such a change, in a plan: "live", "restart", or in more words.
    """

    field: str
    before: str = ""
    after: str = ""
    effect: str = ""


class HistoryEntry(Frozen):
    """A request that changed something: what was asked, by whom, when, and how it differs from the one before."""

    number: int
    at: datetime
    by: str
    request: InstanceRequest
    changes: tuple[FieldChange, ...] = ()


class Placement(Frozen):
    """A candidate computer, and why it was taken or passed over (`refusals` is empty for one that fits).

    For a shared instance the candidate is an `instance` on that computer, with the number that it `serves` already.
    """

    computer: str
    title: str
    free_partitions: int = 0
    instance: str = ""
    serves: int = 0
    refusals: tuple[str, ...] = ()


class Plan(Frozen):
    """What a request would do: made without storing anything."""

    reference: str
    action: str  # create | update | nothing
    changes: tuple[FieldChange, ...] = ()
    computer: str = ""  # where it is, or would be placed; empty when nothing fits
    partition: str = ""  # only for an instance that exists
    placements: tuple[Placement, ...] = ()
