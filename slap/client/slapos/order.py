"""Instance requests to a SlapOS master: render the form, and parse descriptions of instances.

A classic master stores orders and connection parameters. A SlapOS master also shows what nodes tell it; slapproxy
throws that away. So an instance is called started here only when its master says so.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slap.client.slapos.documents import (
    ComputerDescription,
    PartitionDescription,
    SharedDescription,
    Values,
    parse_addresses,
    parse_values,
)
from slap.client.slapos.hateoas import Row, values_of
from slap.client.slapos.http import marshal_value, parse_answer, unreadable_answer
from slap.model.errors import SlapError
from slap.model.instance import Instance, InstanceRequest, Sla
from slap.model.serialisation import Serialisation, wrap
from slap.model.sla_filters import filters_from_sla
from slap.model.state import InstanceState, ReportedInstanceState
from slap.model.values import Parameters
from slap.system.http import fetch_text
from slap.system.marshal import SlapObject

_MAX_SCHEMA_BYTES = 1 << 20
_SCHEMA_TIMEOUT_SECONDS = 5.0
USER = "user:me"  # masters do not say who we are


def request_form(request: InstanceRequest, declared: Serialisation) -> dict[str, str]:
    """Return the complete form of a request; parameters are serialised as it says, or else as the release declares."""
    parameters = wrap(request.parameters, request.serialisation or declared, Serialisation.NONE)
    return {
        "software_release": request.software_release,
        "software_type": request.software_type,
        "partition_reference": request.reference,
        "partition_parameter_xml": marshal_value(parameters),
        "filter_xml": marshal_value(filters_from_sla(request.sla)),
        "state": marshal_value(request.state.value),
        "shared_xml": marshal_value(request.shared),
    }


def declared_serialisation(url: str, software_type: str) -> Serialisation:
    """Return what software.cfg.json declares for the type, or else for the release; NONE when it cannot be read."""
    try:
        document = json.loads(_load_document(f"{url}.json"))
    except (SlapError, OSError, ValueError):
        return Serialisation.NONE
    types = document.get("software-type") if isinstance(document, dict) else None
    own = types.get(software_type) if isinstance(types, dict) else None
    return _serialisation_of(own) or _serialisation_of(document)


def _serialisation_of(said: Any) -> Serialisation:
    word = said.get("serialisation") if isinstance(said, dict) else None
    return Serialisation(word) if word in set(Serialisation) else Serialisation.NONE


def _load_document(url: str) -> str:
    if url.startswith(("http://", "https://")):
        return fetch_text(url, _MAX_SCHEMA_BYTES, _SCHEMA_TIMEOUT_SECONDS)
    with Path(url).open() as file:
        return file.read(_MAX_SCHEMA_BYTES)


@dataclass(frozen=True)
class InstanceDescription:
    """An instance as one of the master's answers describes it; `moment` is when it last changed."""

    guid: str
    reference: str
    release: str
    software_type: str
    values: Values
    connection: Values
    requested: InstanceState
    computer: str = ""
    partition: str = ""
    addresses: tuple[str, ...] = ()
    moment: str = ""
    access: str = ""
    shared: bool = False
    host: str = ""  # guid of the instance that serves a shared one
    root: str = ""
    requester: str = USER


def read_answer(body: bytes, request: InstanceRequest, requester: str) -> InstanceDescription:
    """An answer to requestComputerPartition. For a shared instance slapproxy tells no guid: it is made as it makes it."""
    said = parse_answer(body)
    if not (isinstance(said, SlapObject) and said.class_name in ("SoftwareInstance", "ComputerPartition")):
        raise unreadable_answer("It does not describe an instance.")
    known: Mapping[str, object] = said.attributes
    mixed = known.get("_parameter_dict")
    accepted = accepted_only(request, requester)
    return replace(
        accepted,
        guid=str(known.get("_instance_guid") or accepted.guid),
        connection=parse_values(known.get("_connection_dict")),
        computer=str(known.get("slap_computer_id") or ""),
        partition=str(known.get("slap_computer_partition_id") or ""),
        addresses=parse_addresses(known.get("ip_list")),
        moment=str(mixed.get("timestamp", "")) if isinstance(mixed, Mapping) else "",
    )


def accepted_only(request: InstanceRequest, requester: str) -> InstanceDescription:
    """Return the description of an instance that is accepted but not yet allocated."""
    own = "" if requester == USER else requester
    return InstanceDescription(
        guid=f"{own}_{request.reference}",
        reference=request.reference,
        release=request.software_release,
        software_type=request.software_type,
        values=Values(request.parameters, request.serialisation),
        connection=Values(),
        requested=request.state,
        shared=request.shared,
        host=request.sla.instance,
        requester=requester,
    )


def from_row(row: Row) -> InstanceDescription | None:
    """An instance from a row of slapproxy's list, which has all columns of its table; None for other rows."""
    if not (row.get("computer_reference") and row.get("reference") and row.get("slap_state")):
        return None
    computer, partition = str(row["computer_reference"]), str(row["reference"])
    return InstanceDescription(
        guid=f"{computer}-{partition}",
        reference=str(row.get("title")),
        release=str(row.get("url_string") or ""),
        software_type=str(row.get("software_type") or ""),
        values=values_of(row.get("xml")),
        connection=values_of(row.get("connection_xml")),
        requested=_state(row.get("requested_state")),
        computer=computer,
        partition=partition,
        moment=str(row.get("timestamp") or ""),
    )


def from_document(row: Row, fields: Row) -> InstanceDescription:
    """An instance from the document that a row of a list leads to."""
    title, shared = str(row.get("title")), bool(fields.get("root_slave"))
    return InstanceDescription(
        guid=f"_{title}" if shared else str(fields.get("reference") or title),
        reference=title,
        release=str(fields.get("url_string") or row.get("url_string") or ""),
        software_type=str(fields.get("source_reference") or "default"),
        values=values_of(fields.get("text_content")),
        connection=values_of(fields.get("connection_parameter_list")),
        requested=_state(fields.get("slap_state")),
        shared=shared,
    )


def from_partition(said: PartitionDescription, computer: str, root: str) -> InstanceDescription:
    """An instance from the description of its computer."""
    return InstanceDescription(
        guid=said.guid,
        reference=said.title,
        release=said.release,
        software_type=said.software_type,
        values=said.values,
        connection=said.connection,
        requested=said.state,
        computer=computer,
        partition=said.name,
        addresses=said.addresses,
        moment=said.timestamp,
        access=said.access,
        root=root,
        requester=USER if said.guid == root else root,
    )


def from_computer(said: ComputerDescription) -> Iterator[InstanceDescription]:
    """The root instances that are on a computer, as far as its description tells them apart from others."""
    for partition in said.partitions:
        if not partition.is_free and partition.root_title == partition.title:
            yield from_partition(partition, said.guid, partition.guid)
        yield from (_shared(each, partition, said.guid) for each in partition.shared if each.reference[:1] == "_")


def _shared(said: SharedDescription, host: PartitionDescription, computer: str) -> InstanceDescription:
    return InstanceDescription(
        guid=said.reference,
        reference=said.reference.removeprefix("_"),
        release=host.release,
        software_type=said.software_type,
        values=said.values,
        connection=Values(),
        requested=InstanceState.STARTED,
        computer=computer,
        partition=host.name,
        shared=True,
        host=host.guid,
    )


def instance_of(placed: InstanceDescription, now: datetime) -> Instance:
    """What a master told, with what that says of its node's work."""
    reported, message = infer_reported_state(placed.requested, placed.connection.plain, placed.access)
    moment = _moment(placed.moment, now)
    return Instance(
        guid=placed.guid,
        reference=placed.reference,
        requester=placed.requester,
        root=placed.root or placed.guid,
        software_release=placed.release,
        software_type=placed.software_type,
        parameters=placed.values.plain,
        serialisation=placed.values.came,
        sla=Sla(computer=placed.computer, instance=placed.host),
        shared=placed.shared,
        requested=placed.requested,
        reported=reported,
        message=message,
        connection=placed.connection.plain,
        published=placed.connection.came,
        computer=placed.computer,
        partition=placed.partition,
        addresses=placed.addresses,
        revision=0,
        created_at=moment,
        changed_at=moment,
    )


def infer_reported_state(
    requested: InstanceState, connection: Parameters, access: str
) -> tuple[ReportedInstanceState, str]:
    """What a node has told of an instance, and in which words. Connection parameters prove that it was instantiated once."""
    kind, _, words = access.strip().partition(" ")
    if kind == "#error":
        return ReportedInstanceState.ERROR, words
    if kind == "#access":
        return _accessed(words), words
    if requested is InstanceState.STOPPED or (requested is InstanceState.STARTED and connection):
        return ReportedInstanceState.UNKNOWN, ""
    return ReportedInstanceState.NONE, ""


def _accessed(words: str) -> ReportedInstanceState:
    named = (state for state in ("started", "stopped", "destroyed") if state in words)
    return ReportedInstanceState(next(named, ReportedInstanceState.NONE.value))


def _state(word: object) -> InstanceState:
    """slapproxy's shared instances have no state of their own."""
    requested = {"start_requested": "started", "stop_requested": "stopped", "destroy_requested": "destroyed"}
    name = requested.get(str(word), str(word))
    return InstanceState(name) if name in set(InstanceState) else InstanceState.STARTED


def _moment(text: str, now: datetime) -> datetime:
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        return now
