# ruff: noqa: N802 (methods are called as in SlapOS, whose scripts they serve)
"""The master under the names that scripts for SlapOS use: `slap`, its computers, its orders and supplies."""

from pathlib import Path
from typing import Any, TypedDict, Unpack

from slap.cli.base import Word
from slap.cli.console.partition import ComputerPartition, SoftwareRelease
from slap.cli.find import find
from slap.cli.order.parameters import release_url, unwrap_typed
from slap.cli.order.products import choose, resolve
from slap.cli.output import short_release
from slap.client.master import Master
from slap.model.computer import Computer as ComputerDocument
from slap.model.errors import InvalidInput, NotFound
from slap.model.instance import InstanceRequest
from slap.model.sla_filters import sla_from_filters
from slap.model.software import DEFAULT_TYPE, SupplyRequest, normalise_release_url
from slap.model.state import InstanceState, SupplyState


class Asked(TypedDict, total=False):
    """What else a request may say."""

    state: str | None
    shared: bool


class OpenOrder:
    """Orders of services."""

    def __init__(self, master: Master, folder: Path) -> None:
        self._master = master
        self._folder = folder

    def request(
        self,
        software_release: str,
        partition_reference: str,
        partition_parameter_kw: dict[str, Any] | None = None,
        software_type: str | None = None,
        filter_kw: dict[str, Any] | None = None,
        **asked: Unpack[Asked],
    ) -> ComputerPartition:
        """Order a service or change it, and return at once; `.wait()` on the answer waits until it runs."""
        parameters, serialisation = unwrap_typed(partition_parameter_kw or {})
        state = _state(asked.get("state"))
        order = InstanceRequest(
            reference=partition_reference,
            software_release=_release(self._master, software_release, self._folder, state),
            software_type=software_type or DEFAULT_TYPE,
            parameters=parameters,
            serialisation=serialisation,
            state=state,
            sla=sla_from_filters(filter_kw or {}),
            shared=bool(asked.get("shared")),
        )
        return ComputerPartition(self._master, self._master.request(order))

    def getInformation(self, partition_reference: str) -> ComputerPartition:
        """A service that was ordered, by its name."""
        return ComputerPartition(self._master, find(self._master, partition_reference))


class Supply:
    """Software for computers."""

    def __init__(self, master: Master, folder: Path) -> None:
        self._master = master
        self._folder = folder

    def supply(self, software_release: str, computer_guid: str, state: str = "available") -> SoftwareRelease:
        wanted = _word(SupplyState, state)
        text = resolve(self._master, software_release)
        gone = wanted is SupplyState.DESTROYED
        url = normalise_release_url(text, str(self._folder)) if gone else release_url(text, self._folder)
        return SoftwareRelease.of(self._master.supply(SupplyRequest(url=url, computer=computer_guid, state=wanted)))


class Computer:
    """A computer by its GUID."""

    def __init__(self, master: Master, guid: str) -> None:
        self._master = master
        self.guid = guid

    def __repr__(self) -> str:
        return f"<computer {self.guid}>"

    def getId(self) -> str:
        return self.guid

    def getInformation(self) -> ComputerDocument:
        return self._master.computer(self.guid)

    def getSoftwareReleaseList(self) -> list[SoftwareRelease]:
        return [SoftwareRelease.of(supply) for supply in self._master.supplies(computer=self.guid)]

    def getComputerPartitionList(self) -> list[ComputerPartition]:
        """The partitions that are in use, at one question to the master for each."""
        uses = [use for use in self.getInformation().partitions if use.instance]
        return [ComputerPartition(self._master, self._master.instance(use.instance)) for use in uses]

    def bang(self, message: str = "") -> None:
        self._master.bang_computer(self.guid, message)


class Products:
    """`product.kvm`: the URL of the known release of that name."""

    def __init__(self, master: Master) -> None:
        self._master = master

    def __getattr__(self, name: str) -> str:
        if name.startswith("_"):  # Python and its shells ask for many of these
            raise AttributeError(name)
        return self.get(name)

    def get(self, name: str) -> str:
        return choose(name, self._master.releases())


class Slap:
    """A master, by the methods of SlapOS's `slap` object."""

    def __init__(self, master: Master, folder: Path) -> None:
        self._master = master
        self._folder = folder

    def registerOpenOrder(self) -> OpenOrder:
        return OpenOrder(self._master, self._folder)

    def registerSupply(self) -> Supply:
        return Supply(self._master, self._folder)

    def registerComputer(self, computer_guid: str) -> Computer:
        return Computer(self._master, computer_guid)

    def registerComputerPartition(self, computer_guid: str, partition_id: str) -> ComputerPartition:
        uses = {use.partition.name: use.instance for use in self._master.computer(computer_guid).partitions}
        if not uses.get(partition_id):
            known = ", ".join(name for name, guid in uses.items() if guid) or "none"
            raise NotFound(f"Nothing is in {partition_id} of {computer_guid}.", f"In use are: {known}.")
        return ComputerPartition(self._master, self._master.instance(uses[partition_id]))

    def registerSoftwareRelease(self, software_release: str) -> SoftwareRelease:
        return SoftwareRelease(software_release, "")

    def getSoftwareReleaseListFromSoftwareProduct(self, software_product_reference: str) -> list[str]:
        name = software_product_reference
        return [one.url for one in self._master.releases() if name in (one.title, short_release(one.url))]

    def getOpenOrderDict(self) -> dict[str, ComputerPartition]:
        return {one.reference: ComputerPartition(self._master, one) for one in self._master.instances()}

    def getComputerDict(self) -> dict[str, Computer]:
        return {one.title: Computer(self._master, one.guid) for one in self._master.computers()}


def software_list(master: Master) -> list[str]:
    """The URLs of the known releases."""
    return sorted(release.url for release in master.releases())


def _release(master: Master, text: str, folder: Path, state: InstanceState) -> str:
    """To destroy a service, its profile need not be there any more."""
    url = resolve(master, text)
    return normalise_release_url(url, str(folder)) if state is InstanceState.DESTROYED else release_url(url, folder)


def _state(word: str | None) -> InstanceState:
    return _word(InstanceState, word or InstanceState.STARTED.value)


def _word(words: type[Word], text: str) -> Word:
    try:
        return words(text)
    except ValueError:
        raise InvalidInput(f"There is no state {text!r}.", f"There are: {', '.join(words)}.") from None
