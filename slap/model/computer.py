"""Computers, and their partitions."""

from datetime import datetime
from typing import Annotated

from pydantic import FailFast, Field

from slap.model.base import Frozen, Name, PartitionName
from slap.model.resources.limits import ComputerLimits
from slap.model.values import Line


class Partition(Frozen):
    """A slot on a computer, as its node formatted it."""

    name: PartitionName
    ipv4: tuple[Line, ...] = ()
    ipv6: tuple[Line, ...] = ()
    tap: Line = ""
    route: tuple[Line, Line, Line, Line] | None = (
        None  # address, gateway, netmask and network that are routed to the tap
    )


class ComputerConfiguration(Frozen):
    """What a node tells about its computer after `slapos node format`.

    `labels` and `capabilities` are what orders can filter on: labels are the operator's words (zone=paris), capabilities
    are what the node found (kvm, root, ipv6). `network` names the network that the computer is in, `limits` what a
    partition may use; older nodes say nothing of them.
    """

    partitions: Annotated[tuple[Partition, ...], FailFast()]
    labels: dict[Line, Line] = Field(default_factory=dict)
    capabilities: Annotated[frozenset[Line], FailFast()] = frozenset()
    network: Line = ""
    limits: ComputerLimits | None = None


class ComputerRegistration(Frozen):
    """Ask for a new computer; `guid` is made by the master when it is empty."""

    title: Name
    guid: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$")
    replace: bool = False  # take over the name of a computer that was lost, with a new token


class RegisteredComputer(Frozen):
    """The answer to a registration: the only time that the token is shown."""

    guid: str
    title: str
    token: str


class PartitionUse(Frozen):
    """A partition and what runs in it; `instance` and `reference` are empty when it is free."""

    partition: Partition
    instance: str = ""
    reference: str = ""


class Computer(Frozen):
    """A computer as the master knows it; `seen_at` is when its node last asked or told something."""

    guid: str
    title: str
    configuration: ComputerConfiguration
    free_partitions: int
    seen_at: datetime | None = None
    partitions: tuple[PartitionUse, ...] = ()  # filled when one computer is asked for
