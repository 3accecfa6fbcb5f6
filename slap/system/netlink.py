"""Addresses of network interfaces, by pyroute2."""

import errno
import ipaddress
from dataclasses import dataclass, field
from typing import Protocol

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from slap.model.errors import CommandFailed, NotFound


class Network(Protocol):
    """Addresses are given with their prefix length: 10.0.0.5/32."""

    def addresses(self, interface: str) -> frozenset[str]: ...
    def add(self, interface: str, address: str) -> None: ...
    def remove(self, interface: str, address: str) -> None: ...


class KernelNetwork:
    """The real one; adding and removing need CAP_NET_ADMIN. Repeating either is no error."""

    def addresses(self, interface: str) -> frozenset[str]:
        with IPRoute() as route:
            found = route.get_addr(index=_index(route, interface))
            return frozenset(f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}" for each in found)

    def add(self, interface: str, address: str) -> None:
        self._change("add", interface, address, errno.EEXIST)

    def remove(self, interface: str, address: str) -> None:
        self._change("del", interface, address, errno.EADDRNOTAVAIL)

    def _change(self, verb: str, interface: str, address: str, harmless: int) -> None:
        parsed = ipaddress.ip_interface(address)
        options = {"address": str(parsed.ip), "prefixlen": parsed.network.prefixlen}
        if parsed.version == 6:
            options["flags"] = _IFA_F_NODAD
        with IPRoute() as route:
            try:
                route.addr(verb, index=_index(route, interface), **options)
            except NetlinkError as error:
                if error.code != harmless:
                    raise CommandFailed(f"Address {address} of {interface}: {error}.") from error


@dataclass
class FakeNetwork:
    """Addresses in memory."""

    known: dict[str, set[str]] = field(default_factory=dict)

    def addresses(self, interface: str) -> frozenset[str]:
        return frozenset(self.known.get(interface, set()))

    def add(self, interface: str, address: str) -> None:
        self.known.setdefault(interface, set()).add(address)

    def remove(self, interface: str, address: str) -> None:
        self.known.get(interface, set()).discard(address)


# linux/if_addr.h: usable at once, without asking the neighbours whether they have it too.
_IFA_F_NODAD = 0x02


def _index(route: IPRoute, interface: str) -> int:
    found = route.link_lookup(ifname=interface)
    if not found:
        raise NotFound(f"There is no network interface {interface}.", resolution="Mend interface_name in slapos.cfg.")
    return int(found[0])
