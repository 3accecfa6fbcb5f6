"""Orders that another master shall place: sent on over the classic protocol, as slapproxy's [multimaster/URL] has it.

What the other master answers is kept with the order, so that the instance is listed, and asked for again whenever
somebody looks at it: the classic protocol tells no news by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from slap.master.multimaster.config import OtherMaster
from slap.model.errors import CannotBePlaced, InvalidInput, NotReady, SlapError, Unreachable
from slap.model.instance import InstanceRequest
from slap.model.serialisation import unwrap, wrap
from slap.model.sla_filters import filters_from_sla
from slap.model.state import InstanceState
from slap.system.marshal import SlapObject, dumps, loads
from slap.system.transport import Reply, Transport

_PATIENCE = 30.0
MASTER_FILTER = "master_url"  # the filter of an order that names another master


@dataclass(frozen=True)
class Placed:
    """What another master answered to an order."""

    guid: str
    computer: str
    partition: str
    addresses: tuple[str, ...]
    connection: dict[str, Any]


def master_for(order: InstanceRequest, others: tuple[OtherMaster, ...]) -> OtherMaster | None:
    """The master that is to place an order: the one that it names, or the one that its release is always sent to."""
    named = order.sla.labels.get(MASTER_FILTER, "").rstrip("/")
    if named:
        return _named(named, others)
    return next((other for other in others if order.software_release in other.releases), None)


def _named(url: str, others: tuple[OtherMaster, ...]) -> OtherMaster:
    for other in others:
        if other.url.rstrip("/") == url:
            return other
    known = ", ".join(other.url for other in others) or "none"
    raise InvalidInput(
        f"Orders are not forwarded to {url}.",
        f"The masters that they may be forwarded to: {known}.",
        f"Add a section [multimaster/{url}] to the configuration of this master, or leave {MASTER_FILTER} out.",
    )


def fields_of(order: InstanceRequest, other: OtherMaster, requester: str) -> dict[str, str]:
    """The order as a form of the classic protocol. Its name carries that of its requester: there, all are one user."""
    name = f"{requester.removeprefix('user:')}_{order.reference}"
    labels = {key: value for key, value in order.sla.labels.items() if key != MASTER_FILTER}
    filters = filters_from_sla(order.sla.model_copy(update={"labels": labels}))
    fields = {
        "software_release": order.software_release,
        "software_type": order.software_type,
        "partition_reference": name,
        "partition_parameter_xml": _xml(wrap(order.parameters, order.serialisation)),
        "state": _xml(order.state.value),
        "shared_xml": _xml(order.shared),
    }
    if other.computer and other.partition:
        place = {"computer_id": other.computer, "computer_partition_id": other.partition}
        return {**fields, **place, "filter_xml": _xml(filters)}
    return {**fields, "filter_xml": _xml({**filters, "source_instance_id": name})}


def _xml(value: object) -> str:
    return dumps(value).decode()


def forward(order: InstanceRequest, other: OtherMaster, requester: str, transport: Transport) -> Placed | None:
    """Place an order at another master; None once it is destroyed there. Raises what that master says."""
    body = urlencode(fields_of(order, other, requester)).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{other.url.rstrip('/')}/requestComputerPartition"
    reply = transport.send("POST", url, headers, body, _PATIENCE)
    if reply.status == 404 and order.state is InstanceState.DESTROYED:
        return None
    if reply.status != 200:
        raise _refusal(reply, other, order)
    return _placed(reply.body, other)


def _refusal(reply: Reply, other: OtherMaster, order: InstanceRequest) -> SlapError:
    kinds: dict[int, Callable[[str, str, str], SlapError]] = {404: CannotBePlaced, 408: NotReady}
    words = reply.body[:2000].decode(errors="replace").strip()
    return kinds.get(reply.status, Unreachable)(
        f"The master at {other.url} did not place {order.reference} (status {reply.status}).",
        words,
        "It is forwarded there by the configuration of this master; what is wrong has to be mended at that one.",
    )


def _placed(body: bytes, other: OtherMaster) -> Placed:
    try:
        answer = loads(body)
    except InvalidInput as error:
        raise _strange(other, error.details) from error
    if not isinstance(answer, SlapObject):
        raise _strange(other, "It is not an instance.")
    has = answer.attributes
    computer, partition = str(has.get("slap_computer_id", "")), str(has.get("slap_computer_partition_id", ""))
    return Placed(
        guid=str(has.get("_instance_guid") or f"{computer}-{partition}"),
        computer=computer,
        partition=partition,
        addresses=tuple(str(each[1]) for each in has.get("ip_list") or () if len(each) > 1),
        connection=unwrap(has.get("_connection_dict") or {})[0],
    )


def _strange(other: OtherMaster, reason: str) -> Unreachable:
    return Unreachable(f"The answer of the master at {other.url} is not that of a SlapOS master.", reason)
