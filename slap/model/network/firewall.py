"""What a partition may reach and who may reach it, beyond what holds for all: the file that it leaves for its node."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from slap.model.base import Frozen

FIREWALL_FILE = ".slapos-firewall"
EVERY_PORT = "*"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Destination:
    """A network, or one port of each of its addresses."""

    network: Network
    port: int = 0

    @property
    def version(self) -> int:
        return self.network.version

    def __str__(self) -> str:
        if not self.port:
            return str(self.network)
        return f"[{self.network}]:{self.port}" if self.version == 6 else f"{self.network}:{self.port}"


def parse_network(text: object) -> Network:
    """ADDRESS or ADDRESS/LENGTH; raises ValueError."""
    if not isinstance(text, str) or "%" in text:
        raise ValueError(f"{text!r:.100} is neither an IP address nor a network")
    return ipaddress.ip_network(text, strict=False)


def parse_destination(text: object) -> Destination:
    """NETWORK, IPV4-NETWORK:PORT or [IPV6-NETWORK]:PORT; raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r:.100} is not a destination")
    address, colon, port = text.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        return Destination(parse_network(address[1:-1]), parse_port(port))
    if colon and ":" not in address:
        return Destination(parse_network(address), parse_port(port))
    return Destination(parse_network(text))


def parse_port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r:.20} is not a port from 1 to 65535")
    return int(text)


def _plain_network(text: object) -> str:
    return str(parse_network(text))


def _plain_destination(text: object) -> str:
    return str(parse_destination(text))


NetworkText = Annotated[str, BeforeValidator(_plain_network)]


def _port_or_every(text: str) -> str:
    return text if text == EVERY_PORT else str(parse_port(text))


class Firewall(Frozen):
    """What a partition closes: nothing, when nothing is said.

    Its user reaches no master, no addresses of partitions but its own, or no other address at all but those in `allow`.
    `visitors`: who may reach a port of its addresses, by the port's number or `*` for all that are not named.
    """

    master: bool = True
    partitions: bool = True
    internet: bool = True
    allow: tuple[Annotated[str, BeforeValidator(_plain_destination)], ...] = Field(default=(), max_length=256)
    visitors: dict[
        Annotated[str, AfterValidator(_port_or_every)],
        Annotated[tuple[NetworkText, ...], Field(max_length=256)],
    ] = Field(default_factory=dict, max_length=256)

    @property
    def destinations(self) -> tuple[Destination, ...]:
        return tuple(map(parse_destination, self.allow))

    @property
    def closes_something(self) -> bool:
        return not (self.master and self.partitions and self.internet)


OPEN = Firewall()
