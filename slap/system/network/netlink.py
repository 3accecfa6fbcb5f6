"""Network interfaces and their addresses, by pyroute2."""

import errno
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from slap.model.errors import CommandFailed, NotFound
from slap.system.lazy_import import Later

pyroute2: Any = Later("pyroute2")


@dataclass(frozen=True)
class Link:
    """An interface: `kind` is `bridge`, `tap`, or another word of the kernel's; empty for hardware and the loopback."""

    kind: str = ""
    owner: int | None = None  # whose programs may open a tap
    bridge: str = ""  # that it is a port of
    is_up: bool = False


class Network(Protocol):
    """Addresses are given with their prefix length: 10.0.0.5/32. Repeating what was done is no error."""

    def addresses(self, interface: str) -> frozenset[str]: ...
    def add(self, interface: str, address: str) -> None: ...
    def remove(self, interface: str, address: str) -> None: ...
    def links(self) -> Mapping[str, Link]: ...
    def add_bridge(self, name: str) -> None: ...
    def add_tap(self, name: str, owner: int, bridge: str = "") -> None: ...
    def delete_link(self, name: str) -> None: ...


class KernelNetwork:
    """The real one; changing anything needs CAP_NET_ADMIN."""

    def addresses(self, interface: str) -> frozenset[str]:
        with pyroute2.IPRoute() as route:
            found = route.get_addr(index=_index(route, interface))
            return frozenset(f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}" for each in found)

    def add(self, interface: str, address: str) -> None:
        self._change("add", interface, address, errno.EEXIST)

    def remove(self, interface: str, address: str) -> None:
        self._change("del", interface, address, errno.EADDRNOTAVAIL)

    def links(self) -> Mapping[str, Link]:
        with pyroute2.IPRoute() as route:
            found = list(route.get_links())
        names = {each["index"]: str(each.get_attr("IFLA_IFNAME")) for each in found}
        return {names[each["index"]]: _link(each, names) for each in found}

    def add_bridge(self, name: str) -> None:
        with pyroute2.IPRoute() as route:
            _add_link(route, name, kind="bridge")
            route.link("set", index=_index(route, name), state="up")

    def add_tap(self, name: str, owner: int, bridge: str = "") -> None:
        with pyroute2.IPRoute() as route:
            if not route.link_lookup(ifname=name):
                _add_link(route, name, kind="tuntap", mode="tap", uid=owner)
            options = {"master": _index(route, bridge)} if bridge else {}
            route.link("set", index=_index(route, name), state="up", **options)

    def delete_link(self, name: str) -> None:
        with pyroute2.IPRoute() as route:
            for index in route.link_lookup(ifname=name):
                route.link("del", index=index)

    def _change(self, verb: str, interface: str, address: str, harmless: int) -> None:
        parsed = ipaddress.ip_interface(address)
        options = {"address": str(parsed.ip), "prefixlen": parsed.network.prefixlen}
        if parsed.version == 6:
            options["flags"] = _IFA_F_NODAD
        with pyroute2.IPRoute() as route:
            try:
                route.addr(verb, index=_index(route, interface), **options)
            except pyroute2.NetlinkError as error:
                if error.code != harmless:
                    raise CommandFailed(f"Address {address} of {interface}: {error}.") from error


def is_delivered_here(address: str) -> bool:
    """Whether packets to an address stay on this computer."""
    with pyroute2.IPRoute() as route:
        try:
            return any(each["type"] == _RTN_LOCAL for each in route.route("get", dst=address))
        except pyroute2.NetlinkError:  # no way leads there
            return False


_RTN_LOCAL = 2  # linux/rtnetlink.h


@dataclass
class FakeNetwork:
    """Interfaces and addresses in memory."""

    known: dict[str, set[str]] = field(default_factory=dict)
    interfaces: dict[str, Link] = field(default_factory=dict)

    def addresses(self, interface: str) -> frozenset[str]:
        return frozenset(self.known.get(interface, set()))

    def add(self, interface: str, address: str) -> None:
        self.known.setdefault(interface, set()).add(address)

    def remove(self, interface: str, address: str) -> None:
        self.known.get(interface, set()).discard(address)

    def links(self) -> Mapping[str, Link]:
        return dict(self.interfaces)

    def add_bridge(self, name: str) -> None:
        self.interfaces.setdefault(name, Link("bridge", is_up=True))

    def add_tap(self, name: str, owner: int, bridge: str = "") -> None:
        known = self.interfaces.get(name, Link("tap", owner))
        self.interfaces[name] = replace(known, bridge=bridge or known.bridge, is_up=True)

    def delete_link(self, name: str) -> None:
        self.interfaces.pop(name, None)


# linux/if_addr.h: usable at once, without asking the neighbours whether they have it too.
_IFA_F_NODAD = 0x02


def _index(route: Any, interface: str) -> int:
    found = route.link_lookup(ifname=interface)
    if not found:
        raise NotFound(f"There is no network interface {interface}.", resolution="Mend interface_name in slapos.cfg.")
    return int(found[0])


_TAP = 2  # linux/if_tun.h: IFF_TAP


def _add_link(route: Any, name: str, **options: Any) -> None:
    try:
        route.link("add", ifname=name, **options)
    except (pyroute2.NetlinkError, OSError) as error:
        if getattr(error, "code", 0) != errno.EEXIST:
            raise CommandFailed(f"Interface {name} cannot be made: {error}.") from error


def _link(message: Any, names: Mapping[int, str]) -> Link:
    about = message.get_attr("IFLA_LINKINFO")
    kind = str(about.get_attr("IFLA_INFO_KIND") or "") if about else ""
    data = about.get_attr("IFLA_INFO_DATA") if kind == "tun" else None
    is_tap = data is not None and data.get_attr("IFLA_TUN_TYPE") == _TAP
    return Link(
        kind="tap" if is_tap else kind,
        owner=data.get_attr("IFLA_TUN_OWNER") if is_tap and data else None,
        bridge=names.get(message.get_attr("IFLA_MASTER") or 0, ""),
        is_up=bool(message["flags"] & 1),
    )
