"""What the JSON-RPC methods of SlapOS take: no more fields than these, and no value of another type."""

from typing import Annotated, Literal

from pydantic import ConfigDict, FailFast, Field, field_validator

from slap.model.base import Frozen
from slap.model.values import LargeText, Line, Message, Parameters, Word

# In strict models words are literals: a member of an enum would not be recognised in what JSON has.
Requested = Literal["started", "stopped", "destroyed"]
_DAYS = "retention_delay"


class Asked(Frozen):
    """The body of a call."""

    model_config = ConfigDict(strict=True)


class Nothing(Asked):
    """Some methods take no fields at all."""


class OfComputer(Asked):
    computer_guid: Word


class OfPartition(OfComputer):
    compute_partition_id: Word


class OfInstance(Asked):
    instance_guid: Word


class OfTitle(Asked):
    title: Line = Field(max_length=200)


class ComputerMessage(OfComputer):
    message: Message


class InstanceMessage(OfInstance):
    message: Message


class InstanceTitle(OfInstance):
    title: Line = Field(max_length=200)


class InstanceReported(OfInstance):
    reported_state: Requested


class Published(OfInstance):
    connection_parameter_dict: Parameters


class Usage(OfComputer):
    tioxml: LargeText


class Installation(OfComputer):
    software_release_uri: Line
    state: Literal["available", "destroyed"] = "available"


class InstallationReported(OfComputer):
    software_release_uri: Line
    reported_state: Literal["building", "available", "destroyed"]


class InstallationError(OfComputer):
    software_release_uri: Line
    message: Message


class _Described(Asked):
    """Nodes describe their partitions at more length than anybody needs here."""

    model_config = ConfigDict(extra="ignore")


class FormattedAddress(_Described):
    address: Line = Field(alias="ip-address")
    interface: Line = Field(default="", alias="network-interface")
    netmask: Line = ""
    gateway: Line = Field(default="", alias="gateway-ip-address")
    network: Line = Field(default="", alias="network-address")


class FormattedPartition(_Described):
    partition_id: Word
    ip_list: tuple[FormattedAddress, ...] = Field(default=(), strict=False)


class Format(OfComputer):
    compute_partition_list: Annotated[tuple[FormattedPartition, ...], FailFast()] = Field(strict=False)


class Order(Asked):
    title: Line = Field(max_length=200)
    software_release_uri: Line
    software_type: Line
    parameters: Parameters = Field(default_factory=dict)
    state: Requested = "started"
    sla_parameters: dict[Line, Line | float] = Field(default_factory=dict)
    shared: bool = False

    @field_validator("sla_parameters")
    @classmethod
    def _only_days_are_a_number(cls, filters: dict[str, str | float]) -> dict[str, str | float]:
        wrong = [name for name, value in filters.items() if isinstance(value, str) is (name == _DAYS)]
        if wrong:
            raise ValueError(f"{_DAYS} is a number, all else is a string: {', '.join(sorted(wrong))}")
        return filters
