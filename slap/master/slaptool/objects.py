"""The objects of the classic protocol, made of what the master knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from slap.master.database.tables import AnyRow
from slap.master.database.text import from_json
from slap.master.slapos.status_text import instance_news
from slap.model.instance import Instance, Sla
from slap.model.serialisation import Serialisation, wrap
from slap.model.sla_filters import filters_from_sla
from slap.model.software import SoftwareRelease
from slap.model.state import InstanceState, ReportedInstanceState
from slap.model.values import Parameters
from slap.system.marshal import SlapObject


@dataclass(frozen=True)
class Slot:
    """A partition with its addresses, and what is in it: a row of the instance, or None, and those that it serves."""

    computer: str
    name: str
    addresses: Sequence[str]
    tap: str = ""
    route: Sequence[str] = ()  # address, gateway, netmask and network that are routed to the tap interface
    inside: AnyRow | None = None
    release: SoftwareRelease | None = None
    shared: Sequence[AnyRow] = ()

    @property
    def ip_list(self) -> list[tuple[str, str]]:
        return [(self.tap or self.name, address) for address in self.addresses]

    @property
    def full_ip_list(self) -> list[tuple[str, ...]]:
        return [(f"route_{self.tap}", *self.route)] if self.route else []


def computer_object(guid: str, releases: list[SlapObject], partitions: list[SlapObject]) -> SlapObject:
    lists = {"_software_release_list": releases, "_computer_partition_list": partitions}
    return SlapObject("Computer", {"_computer_id": guid, **lists})


def release_object(url: str, guid: str, state: str = "available") -> SlapObject:
    attributes = {"_software_release": url, "_computer_guid": guid, "_requested_state": state}
    return SlapObject("SoftwareRelease", attributes)


def partition_object(slot: Slot) -> SlapObject:
    """A partition as its node is told; one that is free is as good as destroyed."""
    attributes: dict[str, Any] = {
        "_computer_id": slot.computer,
        "_partition_id": slot.name,
        "_need_modification": 0,
        "_requested_state": InstanceState.DESTROYED.value,
        "_software_release_document": None,
    }
    if slot.inside is not None:
        attributes |= _occupied(slot, slot.inside)
    return SlapObject("ComputerPartition", attributes)


def instance_object(instance: Instance, slot: Slot, declared: Serialisation) -> SlapObject:
    """An instance as its requester is answered."""
    attributes = {
        "slap_computer_id": instance.computer,
        "slap_computer_partition_id": instance.partition,
        "slap_software_release_url": instance.software_release,
        "slap_software_type": instance.software_type,
        "slap_server_url": "",
        "instance_title": instance.reference,
        "ip_list": slot.ip_list,
        "full_ip_list": slot.full_ip_list,
        "_requested_state": instance.requested.value,
        "_instance_guid": instance.guid,
        "_connection_dict": _connection(instance.connection, instance.published, declared),
        "_parameter_dict": wrap(instance.parameters, declared, instance.serialisation),
        "_access_status": instance_news(instance)["text"],
    }
    return SlapObject("SoftwareInstance", attributes)


def nothing_object() -> SlapObject:
    """The answer to whom wants an instance gone that is not there."""
    gone = {"slap_computer_id": "", "slap_computer_partition_id": "", "_requested_state": "destroyed"}
    return SlapObject("SoftwareInstance", gone | {"_connection_dict": {}, "_parameter_dict": {}})


def _occupied(slot: Slot, row: AnyRow) -> dict[str, Any]:
    declared = _declared(slot, row.type, shared=False)
    return {
        "_need_modification": 1,
        "_requested_state": row.requested,
        "_instance_guid": row.guid,
        "_software_release_document": release_object(row.release, slot.computer),
        "_access_status": _access_status(row),
        "_filter_dict": _filters_of(row.sla),
        "_connection_dict": _connection(from_json(row.connection), Serialisation(row.published), declared),
        "_parameter_dict": _parameters(slot, row, declared),
    }


def _connection(values: Parameters, published: Serialisation, declared: Serialisation) -> dict[str, str]:
    """As it was published. What is not published yet is not to be taken for an empty object that was."""
    return wrap(values, published, declared) if values or published else {}


def _parameters(slot: Slot, row: AnyRow, declared: Serialisation) -> dict[str, Any]:
    return {
        **wrap(from_json(row.parameters), declared, Serialisation(row.serialisation)),
        "ip_list": slot.ip_list,
        "full_ip_list": slot.full_ip_list,
        "slap_software_type": row.type,
        "instance_title": row.reference,
        "root_instance_title": row.root_reference,
        "slap_computer_id": slot.computer,
        "slap_computer_partition_id": slot.name,
        "slap_software_release_url": row.release,
        "slave_instance_list": [_shared(slot, each) for each in slot.shared],
        # Nodes only ask whether it is another one than before.
        "timestamp": str(row.revision),
    }


def _shared(slot: Slot, row: AnyRow) -> dict[str, Any]:
    declared = _declared(slot, row.type, shared=True)
    return {
        **wrap(from_json(row.parameters), declared, Serialisation(row.serialisation)),
        "slave_title": row.reference,
        "slap_software_type": row.type,
        "slave_reference": row.guid,
    }


def _declared(slot: Slot, software_type: str, shared: bool) -> Serialisation:
    return slot.release.serialisation_of(software_type, shared) if slot.release else Serialisation.NONE


def _access_status(row: AnyRow) -> str | None:
    """What was said of it as it is requested now; a node that is not told that anything was said says it again."""
    if row.reported_revision < row.revision:
        return None
    if row.reported == ReportedInstanceState.ERROR:
        return f"#error {row.message}"
    return f"#access Instance correctly {row.reported}" if row.reported == row.requested else None


@lru_cache(maxsize=1024)
def _filters_of(words: str) -> dict[str, str]:
    """The filters of an order from the text that is stored, which is the same for most: it is read, never changed."""
    return filters_from_sla(Sla.model_validate(from_json(words)))
