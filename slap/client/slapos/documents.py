"""Parse a SlapOS master's description of a computer; partitions that cannot be parsed are listed as unread."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from slap.client.slapos.http import parse_answer, unreadable_answer
from slap.model.base import PartitionName
from slap.model.serialisation import Serialisation, unwrap
from slap.model.state import InstanceState, SupplyState
from slap.model.values import Parameters
from slap.system.marshal import SlapObject

# What the master adds to the parameters of an instance, and to those of a shared one.
_ADDED = frozenset(
    (
        "ip_list", "full_ip_list", "full_address_list", "slap_software_type", "instance_title", "root_instance_title",
        "slap_computer_id", "slap_computer_partition_id", "slap_software_release_url", "slave_instance_list", "timestamp",
    )
)  # fmt: skip
_ADDED_TO_SHARED = frozenset(("slave_reference", "slave_title", "slap_software_type", "timestamp"))

_PARTITION_NAME: TypeAdapter[str] = TypeAdapter(PartitionName)


@dataclass(frozen=True)
class Values:
    """Parameters as they are meant, and the form in which they came."""

    plain: Parameters = field(default_factory=dict)
    came: Serialisation = Serialisation.NONE


@dataclass(frozen=True)
class SharedDescription:
    """A shared instance in the list of the one that serves it."""

    reference: str
    title: str
    software_type: str
    values: Values


@dataclass(frozen=True)
class PartitionDescription:
    """A partition and what shall be in it; with neither guid nor release it is free."""

    name: str
    guid: str = ""
    state: InstanceState = InstanceState.DESTROYED
    release: str = ""
    software_type: str = ""
    title: str = ""
    root_title: str = ""
    timestamp: str = ""
    access: str = ""
    values: Values = Values()
    connection: Values = Values()
    addresses: tuple[str, ...] = ()
    shared: tuple[SharedDescription, ...] = ()

    @property
    def is_free(self) -> bool:
        return not self.release


@dataclass(frozen=True)
class ComputerDescription:
    """A computer; `unread` are its partitions of which could not be understood what they shall be."""

    guid: str
    supplies: Mapping[str, SupplyState]
    partitions: tuple[PartitionDescription, ...]
    unread: tuple[str, ...] = ()

    def partition(self, name: str) -> PartitionDescription | None:
        return next((each for each in self.partitions if each.name == name), None)


def parse_computer(body: bytes) -> ComputerDescription:
    """An answer to getFullComputerInformation; raises Unreachable for what is none."""
    computer = parse_answer(body)
    if not (isinstance(computer, SlapObject) and computer.class_name == "Computer"):
        raise unreadable_answer("It does not describe a computer.")
    said = [(_name(each), _partition(each)) for each in _objects(computer, "_computer_partition_list")]
    return ComputerDescription(
        guid=_text(computer.attributes.get("_computer_id")),
        supplies=dict(_supplies(_objects(computer, "_software_release_list"))),
        partitions=tuple(each for _, each in said if each),
        unread=tuple(name for name, each in said if not each),
    )


def parse_values(given: object) -> Values:
    """Parameters out of a dictionary of the wire, without what the master added."""
    plain, came = unwrap({name: value for name, value in _mapping(given).items() if name not in _ADDED})
    return Values(plain, came)


def parse_addresses(listed: object) -> tuple[str, ...]:
    """Of pairs (interface, address), the addresses."""
    pairs = listed if isinstance(listed, list | tuple) else ()
    return tuple(_text(pair[1]) for pair in pairs if isinstance(pair, list | tuple) and len(pair) >= 2)


def _objects(computer: SlapObject, attribute: str) -> list[SlapObject]:
    """A list that is not there is not one that is empty."""
    listed = computer.attributes.get(attribute)
    if not isinstance(listed, list | tuple) or not all(isinstance(each, SlapObject) for each in listed):
        raise unreadable_answer(f"It has no {attribute}.")
    return list(listed)


def _supplies(releases: Iterable[SlapObject]) -> Iterator[tuple[str, SupplyState]]:
    for release in releases:
        url, state = (_text(release.attributes.get(name)) for name in ("_software_release", "_requested_state"))
        if url and state in set(SupplyState):
            yield url, SupplyState(state)


def _partition(said: SlapObject) -> PartitionDescription | None:
    """A partition, or None for one that is not understood."""
    state, name = _text(said.attributes.get("_requested_state")), _name(said)
    release = said.attributes.get("_software_release_document", "")
    if not name or state not in set(InstanceState):
        return None
    if release is None:
        return PartitionDescription(name) if state == InstanceState.DESTROYED else None
    return _occupied(name, InstanceState(state), said.attributes, release)


def _occupied(name: str, state: InstanceState, said: Mapping[str, Any], release: object) -> PartitionDescription | None:
    url = _text(release.attributes.get("_software_release")) if isinstance(release, SlapObject) else ""
    guid, added = _text(said.get("_instance_guid")), _mapping(said.get("_parameter_dict"))
    if not (url and guid):
        return None
    title = _text(added.get("instance_title")) or guid
    return PartitionDescription(
        name=name,
        guid=guid,
        state=state,
        release=url,
        software_type=_text(added.get("slap_software_type")) or "default",
        title=title,
        root_title=_text(added.get("root_instance_title")) or title,
        timestamp=_text(added.get("timestamp")),
        access=_text(said.get("_access_status")),
        values=parse_values(added),
        connection=parse_values(said.get("_connection_dict")),
        addresses=parse_addresses(added.get("ip_list")),
        shared=tuple(_shared(added.get("slave_instance_list"))),
    )


def _shared(listed: object) -> Iterator[SharedDescription]:
    for each in listed if isinstance(listed, list | tuple) else ():
        said = _mapping(each)
        reference = _text(said.get("slave_reference"))
        if reference:
            plain, came = unwrap({name: value for name, value in said.items() if name not in _ADDED_TO_SHARED})
            title, kind = (_text(said.get(name)) for name in ("slave_title", "slap_software_type"))
            yield SharedDescription(reference, title or reference, kind or "default", Values(plain, came))


def _name(said: SlapObject) -> str:
    """The partition's name; empty for one that cannot be the name of a folder of ours."""
    try:
        return _PARTITION_NAME.validate_python(said.attributes.get("_partition_id"))
    except ValidationError:
        return ""


def _mapping(value: object) -> dict[str, Any]:
    return {str(name): each for name, each in value.items()} if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
