"""Client of a master that has SlapOS's slap tool protocol: slapproxy, or a SlapOS master."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from slap.client.identity import PartitionIdentity
from slap.client.slapos import order
from slap.client.slapos.documents import ComputerDescription, PartitionDescription
from slap.client.slapos.hateoas import Hateoas
from slap.client.slapos.http import SlapToolClient
from slap.client.slapos.node import SlaposNodeMaster
from slap.client.slapos.order import USER, InstanceDescription
from slap.client.slapos.poll_interval import PollInterval
from slap.client.slapos.state_diff import digest
from slap.model.computer import Computer, RegisteredComputer
from slap.model.errors import CannotBePlaced, Forbidden, NotFound, NotOffered, NotReady, Unauthenticated, Unreachable
from slap.model.instance import Answer, FieldChange, HistoryEntry, Instance, InstanceRequest, InstanceTree
from slap.model.software import SoftwareRelease, Supply, SupplyRequest
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState, SupplyState
from slap.system.clock import Clock, SystemClock
from slap.system.transport import Transport

Observed = TypeVar("Observed")

Hosts = Mapping[str, tuple[str, PartitionDescription]]


class SlaposMaster(SlaposNodeMaster):
    """Spoken to as whom the transport's certificate names, a user or a computer, or as the partition `speaker`."""

    def __init__(
        self, url: str, transport: Transport, identity: PartitionIdentity | None = None, clock: Clock | None = None
    ) -> None:
        super().__init__(SlapToolClient(url, transport), clock or SystemClock())
        self._hateoas = Hateoas(self._client)
        self._identity = identity
        self._requester = f"{identity.computer}-{identity.partition}" if identity else USER
        self._orders: dict[str, InstanceRequest] = {}
        self._instances: dict[str, Instance] = {}
        self._entries: dict[str, HistoryEntry] = {}

    def computers(self) -> list[Computer]:
        return [self.computer(str(row.get("reference"))) for row in self._hateoas.computers()]

    def new_computer_token(self, guid: str) -> RegisteredComputer:
        return RegisteredComputer(guid=guid, title=guid, token=self._hateoas.computer_token())

    def supply(self, request: SupplyRequest) -> Supply:
        form = {"url": request.url, "computer_id": request.computer, "state": request.state.value}
        self._client.post("supplySupply", form)
        return self._supply(request.computer, request.url, request.state)

    def supplies(self, computer: str = "", url: str = "") -> list[Supply]:
        guids = [computer] if computer else [str(row.get("reference")) for row in self._hateoas.computers()]
        supplies = ((guid, *each) for guid in guids for each in self._computer(guid).supplies.items())
        return [self._supply(guid, each, state) for guid, each, state in supplies if url in ("", each)]

    def releases(self) -> list[SoftwareRelease]:
        return []

    def request(self, request: InstanceRequest) -> Instance:
        description = self._request(request)
        before, accepted = self._instances.get(description.guid), self._instance(description)
        changes = tuple(changes_between(before, accepted)) if before else ()
        self._orders[accepted.guid] = request
        self._entries[accepted.guid] = HistoryEntry(
            number=1, at=self._clock.now(), by=self._requester, request=request, changes=changes
        )
        return accepted

    def instances(self, reference: str = "") -> list[Instance]:
        try:
            descriptions = self._list_instances(reference)
        except Unreachable:  # slapproxy fails to list anything once a shared instance survived the one that served it
            descriptions = self._list_described(reference)
        return [self._instance(each) for each in descriptions]

    def instance(self, guid: str) -> Instance:
        found = next((each for each in self.instances() if each.guid == guid), None)
        if not found:
            raise NotFound(f"This master lists no service {guid}.", "", "slapos service list")
        return found

    def answer(self, child: str, wait: float) -> Answer:
        """The order is repeated until the answer to it has connection parameters."""
        found = self._poll_until(
            lambda: self.request(self._orders[child]), lambda seen: bool(seen.connection), wait, longest=2
        )
        return Answer(child=found, children=0)

    def tree(self, root: str, since: int = 0, wait: float = 0, incarnation: str | None = None) -> InstanceTree:
        return self._poll_until(lambda: self._tree(root), lambda seen: seen.revision != since, wait, longest=5)

    def history(self, guid: str) -> list[HistoryEntry]:
        """What was ordered through this very object; the master itself keeps no history."""
        if guid in self._entries:
            return [self._entries[guid]]
        raise NotOffered("This master keeps no history of orders.", "", "slapos service info, for what is ordered now")

    def bang_instance(self, guid: str, message: str) -> None:
        instance = self._instances.get(guid) or self.instance(guid)
        identity = PartitionIdentity(instance.computer, instance.partition)
        self._client.post("softwareInstanceBang", identity.form | {"message": message}, identity)

    def rename_instance(self, guid: str, name: str) -> Instance:
        instance = self._instances.get(guid) or self.instance(guid)
        identity = PartitionIdentity(instance.computer, instance.partition)
        shared = {"slave_reference": instance.guid} if instance.shared else {}
        self._client.post("softwareInstanceRename", identity.form | {"new_name": name} | shared, identity)
        renamed = instance.model_copy(update={"reference": name})
        self._instances[guid] = renamed
        return renamed

    def _request(self, request: InstanceRequest) -> InstanceDescription:
        if request.state is InstanceState.DESTROYED and not self._identity and not self.instances(request.reference):
            raise NotFound(
                f"There is no service {request.reference}.", "", "slapos service list"
            )  # or it would be made
        declared = request.serialisation or order.declared_serialisation(
            request.software_release, request.software_type
        )
        form = order.request_form(request, declared)
        if self._identity:
            form |= self._identity.form | {"partition_reference": self._identity.qualified(request.reference)}
        try:
            answer = self._client.post("requestComputerPartition", form, self._identity)
        except NotFound as error:
            raise CannotBePlaced(
                f"{request.reference} cannot be placed.", error.details, "slapos computer list"
            ) from error
        except NotReady:  # accepted; a SlapOS master finds a place by and by
            return order.accepted_only(request, self._requester)
        return order.read_answer(answer, request, self._requester)

    def _list_instances(self, reference: str) -> list[InstanceDescription]:
        rows = [row for row in self._hateoas.trees(reference) if reference in ("", row.get("title"))]
        descriptions = [order.from_row(row) or order.from_document(row, self._hateoas.document(row)) for row in rows]
        hosts = self._hosts() if any(each.shared for each in descriptions) else {}
        return [_with_host(each, hosts) for each in descriptions]

    def _list_described(self, reference: str) -> list[InstanceDescription]:
        """The root instances that the descriptions of computers show; shared ones, without what they published."""
        computers = [self._computer(str(row.get("reference"))) for row in self._hateoas.computers()]
        found = [each for computer in computers for each in order.from_computer(computer)]
        return [each for each in found if reference in ("", each.reference)]

    def _tree(self, root: str) -> InstanceTree:
        reference = (self._instances.get(root) or self.instance(root)).reference
        found = next(iter(self.instances(reference)), None)
        if not found:
            raise NotFound(f"There is no service {reference} any more.")
        computer = self._description(found.computer)
        members = tuple(self._members(found, computer)) if computer else (found,)
        told = "".join(each.model_dump_json(exclude={"created_at", "changed_at"}) for each in members)
        return InstanceTree(root=members[0], instances=members, revision=digest(told))

    def _members(self, root: Instance, computer: ComputerDescription) -> Iterator[Instance]:
        """The root and, of its computer, what was requested in its name, as far as a computer's description tells."""
        own = [each for each in computer.partitions if each.guid == root.guid and not root.shared]
        yield _with_supply_error(self._describe_partition(own[0], root) if own else root, computer)
        for each in computer.partitions:
            if not each.is_free and not root.shared and each.guid != root.guid and each.root_title == root.reference:
                yield _with_supply_error(self._describe_partition(each, root), computer)

    def _describe_partition(self, partition: PartitionDescription, root: Instance) -> Instance:
        return self._instance(order.from_partition(partition, root.computer, root.guid))

    def _instance(self, description: InstanceDescription) -> Instance:
        instance = order.instance_of(description, self._clock.now())
        self._instances[instance.guid] = instance
        return instance

    def _description(self, computer: str) -> ComputerDescription | None:
        """A computer, when the master lets us see it."""
        try:
            return self._computer(computer) if computer else None
        except (NotFound, Forbidden, Unauthenticated):
            return None

    def _hosts(self) -> Hosts:
        """By shared instance, the computer and the partition of the one that serves it."""
        found: dict[str, tuple[str, PartitionDescription]] = {}
        for row in self._hateoas.computers():
            computer = self._description(str(row.get("reference")))
            for partition in computer.partitions if computer else ():
                found |= {each.reference: (computer.guid, partition) for each in partition.shared if computer}
        return found

    def _poll_until(
        self, look: Callable[[], Observed], is_news: Callable[[Observed], bool], wait: float, longest: float
    ) -> Observed:
        """What is seen as soon as it is news, and after at most `wait` seconds in any case."""
        poll_interval, end = PollInterval(self._clock, shortest=0.25, longest=longest), self._clock.monotonic() + wait
        while True:
            began = self._clock.monotonic()
            seen = look()
            now = self._clock.monotonic()
            if is_news(seen) or not poll_interval.rest(now - began, end - now):
                return seen

    def _supply(self, computer: str, url: str, state: SupplyState) -> Supply:
        """What its node tells of a release is not shown by masters; one that is to go is listed until it went."""
        unknown = ReportedSupplyState.UNKNOWN if state is SupplyState.AVAILABLE else ReportedSupplyState.NONE
        return Supply(url=url, computer=computer, requested=state, reported=unknown, changed_at=self._clock.now())


def changes_between(before: Instance, after: Instance) -> Iterator[FieldChange]:
    """How one order differs from the one before."""
    fields = {"state": "requested", "software_release": "software_release", "software_type": "software_type"}
    for field, name in fields.items():
        if getattr(before, name) != getattr(after, name):
            yield FieldChange(field=field, before=str(getattr(before, name)), after=str(getattr(after, name)))
    for name in sorted({*before.parameters, *after.parameters}):
        former, new = (_text(each.parameters, name) for each in (before, after))
        if former != new:
            yield FieldChange(field=f"parameters.{name}", before=former, after=new)


def _text(parameters: Mapping[str, object], name: str) -> str:
    return json.dumps(parameters[name]) if name in parameters else ""


def _with_host(description: InstanceDescription, hosts: Hosts) -> InstanceDescription:
    """A shared instance with its host, which an order for it has to name: slapproxy takes any that fits otherwise."""
    if description.guid not in hosts or not description.shared:
        return description
    computer, partition = hosts[description.guid]
    return replace(description, computer=computer, partition=partition.name, host=partition.guid)


def _with_supply_error(instance: Instance, computer: ComputerDescription) -> Instance:
    """An instance whose release nobody supplied to its computer never starts, which nobody else would tell."""
    supplied = computer.supplies.get(instance.software_release) is SupplyState.AVAILABLE
    if supplied or instance.connection or instance.requested is not InstanceState.STARTED:
        return instance
    message = f"Its release is not supplied: slapos supply {instance.software_release} {instance.computer}"
    return instance.model_copy(update={"reported": ReportedInstanceState.ERROR, "message": message})
