"""The formatting of a computer as SlapOS's nodes tell it."""

from ipaddress import ip_address
from typing import Any

from slap.model.computer import ComputerConfiguration, Partition
from slap.model.errors import InvalidInput


def reference_of(document: object) -> str:
    """Which computer it is about."""
    return str(_table(document, "xml")["reference"])


def configuration_of(document: object, known: ComputerConfiguration) -> ComputerConfiguration:
    """The partitions that were formatted; what a node of SlapOS does not know of stays as it is."""
    partitions = tuple(partition_of(each) for each in partition_list(_table(document, "xml")))
    return ComputerConfiguration.model_validate(known.model_copy(update={"partitions": partitions}).model_dump())


def partition_list(document: object) -> list[object]:
    """What it says of each partition."""
    found = document.get("partition_list") if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise InvalidInput("The formatting of a computer has no partition_list.")
    return found


def partition_of(found: object) -> Partition:
    """One of these."""
    told = _table(found, "partition_list")
    tap = told.get("tap")
    tap = tap if isinstance(tap, dict) else {}
    addresses = [_address(each) for each in told.get("address_list") or () if each]
    return Partition(
        name=str(told["reference"]),
        ipv4=tuple(each for each in addresses if ":" not in each),
        ipv6=tuple(each for each in addresses if ":" in each),
        tap=str(tap.get("name") or ""),
        route=_route(tap),
    )


def _route(tap: dict[str, Any]) -> tuple[str, str, str, str] | None:
    if not tap.get("ipv4_addr"):
        return None
    address, gateway, netmask, network = (
        str(tap.get(f"ipv4_{name}") or "") for name in ("addr", "gateway", "netmask", "network")
    )
    return address, gateway, netmask, network


def _address(found: object) -> str:
    words = str(_table(found, "address_list").get("addr"))
    try:
        return str(ip_address(words.partition("%")[0]))
    except ValueError as error:
        raise InvalidInput(f"{words[:60]!r} is not an address.", "It is in an address_list.") from error


def _table(found: object, name: str) -> dict[str, Any]:
    if isinstance(found, dict) and (name == "address_list" or "reference" in found):
        return found
    raise InvalidInput(f"{name} has something other than a dictionary with what it needs.", "It has no reference.")
