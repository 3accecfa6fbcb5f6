"""Turn node reports into calls of the slap tool protocol."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slap.client.slapos.documents import ComputerDescription, PartitionDescription, Values
from slap.client.slapos.http import marshal_value
from slap.model.node import InstanceReport, SupplyReport
from slap.model.serialisation import Serialisation, wrap
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState
from slap.model.values import Parameters

# Masters store what they are told in full, and show it in a list.
_LONGEST = 10_000


@dataclass(frozen=True)
class ReportCall:
    """One call that reports something (`about`) of a partition or release (`subject`)."""

    path: str
    form: Mapping[str, str]
    subject: str
    about: str = "state"

    @property
    def is_last(self) -> bool:
        """After this there is nothing that the subject was told of."""
        return self.path in (
            _SUPPLY_PATHS[ReportedSupplyState.DESTROYED],
            _INSTANCE_PATHS[ReportedInstanceState.DESTROYED],
        )


_SUPPLY_PATHS = {
    ReportedSupplyState.BUILDING: "buildingSoftwareRelease",
    ReportedSupplyState.AVAILABLE: "availableSoftwareRelease",
    ReportedSupplyState.DESTROYED: "destroyedSoftwareRelease",
    ReportedSupplyState.ERROR: "softwareReleaseError",
}

_INSTANCE_PATHS = {
    ReportedInstanceState.STARTED: "startedComputerPartition",
    ReportedInstanceState.STOPPED: "stoppedComputerPartition",
    ReportedInstanceState.DESTROYED: "destroyedComputerPartition",
    ReportedInstanceState.ERROR: "softwareInstanceError",
}


def supply_calls(computer: str, report: SupplyReport) -> Iterator[ReportCall]:
    path = _SUPPLY_PATHS.get(report.state)
    if path:
        error = f"{report.message}\n{report.log}".strip()[-_LONGEST:]
        form = {"url": report.url, "computer_id": computer}
        yield ReportCall(
            path,
            form | {"error_log": error} if report.state is ReportedSupplyState.ERROR else form,
            report.url,
        )


def instance_calls(computer: str, partition: PartitionDescription, report: InstanceReport) -> Iterator[ReportCall]:
    """What was published first: whoever learns that an instance is started asks for it next."""
    form = {"computer_id": computer, "computer_partition_id": partition.name}
    if report.connection is not None:
        yield _connection(form, report.connection, partition.values)
    served = {each.reference: each.values for each in partition.shared}
    for reference, connection in (report.shared or {}).items():
        yield _connection(form | {"slave_reference": reference}, connection, served.get(reference, Values()))
    path = _INSTANCE_PATHS.get(report.state)
    if path and report.state is ReportedInstanceState.ERROR:
        form["error_log"] = report.message[:_LONGEST]
    if path:
        yield ReportCall(path, form, partition.name)


def is_reportable(partition: PartitionDescription, report: InstanceReport) -> bool:
    """That an instance is destroyed frees its partition, whatever is in it by then: it is told of that instance alone."""
    return report.state is not ReportedInstanceState.DESTROYED or partition.state is InstanceState.DESTROYED


def find_partition(said: ComputerDescription, guid: str) -> PartitionDescription | None:
    return next((each for each in said.partitions if each.guid == guid), None)


def _connection(form: Mapping[str, str], connection: Parameters, ordered: Values) -> ReportCall:
    """In the form in which the order came: who ordered by JSON reads JSON."""
    came = ordered.came if ordered.came is Serialisation.JSON else Serialisation.NONE
    marshalled = {"connection_xml": marshal_value(wrap(connection, Serialisation.NONE, came))}
    about = f"connection {form.get('slave_reference', '')}"
    return ReportCall("setComputerPartitionConnectionXml", {**form, **marshalled}, form["computer_partition_id"], about)
