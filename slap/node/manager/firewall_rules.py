"""nft scripts of the partition firewall: common rules of a node, and rules of each partition.

Packets are told by the user who sends them. A partition's user reaches its own addresses, the published ones of partitions,
the master and the outside, and nothing else of this computer: what is local goes out by `lo`, whatever its address.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from slap.model.network.firewall import EVERY_PORT, Destination, Firewall, parse_network

Endpoint = tuple[str, int]

STAMP = "stamp"
# What a partition that closes something sends to this computer carries this, so that services which listen on all
# addresses, the partition's own among them, can be told from those that listen there on purpose.
_MARK = "0x51a905"
# What came by a tap that is a port of a bridge carries this: to all that comes after, it came by the bridge.
_GUEST_MARK = "0x51a906"

_FRAME = """\
add table inet {table}
add map inet {table} partitions {{ type uid : verdict; }}
add chain inet {table} guard {{ type filter hook output priority filter + 10; policy accept; }}
add chain inet {table} visitors {{ type filter hook input priority filter + 10; policy accept; }}
"""
_SETS = """\
add map inet {table} doors{version} {{ type {kind} : verdict; }}
add map inet {table} callers{version} {{ type {kind} : verdict; }}
add set inet {table} published{version} {{ type {kind}; }}
add set inet {table} resolvers{version} {{ type {kind}; }}
add set inet {table} master{version} {{ type {kind} . inet_service; }}
flush set inet {table} published{version}
flush set inet {table} resolvers{version}
flush set inet {table} master{version}
"""
_STAMP_SET = """\
add set inet {table} {name} {{ type mark; }}
flush set inet {table} {name}
add element inet {table} {name} {{ {stamp} }}
"""
_KINDS = {4: "ipv4_addr", 6: "ipv6_addr"}
_FAMILIES = {4: "ip", 6: "ip6"}
_REJECT = "goto refuse"
_PORT = "meta l4proto { tcp, udp } th dport"

# A caller by TCP believes nothing but a reset; with anything else it goes on trying for a while.
_REFUSE = ("meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited")
_GUARD = (
    "ct direction reply accept",
    'oifname "lo" ip daddr vmap @callers4',
    'oifname "lo" ip6 daddr vmap @callers6',
    "meta skuid vmap @partitions",
)
_REPLIES = (
    "ct direction reply accept",
    f'iifname "lo" meta mark {_MARK} socket wildcard 1 {_REJECT}',
    'iifname "lo" accept',
)
_DOORS = ("ip daddr vmap @doors4", "ip6 daddr vmap @doors6")
# Whoever is at the other end of a tap is a stranger: of this computer it reaches what is published.
_GUESTS = (
    "meta l4proto { icmp, ipv6-icmp } return",
    # What listens on all addresses listens on those of partitions as well, and is not theirs.
    "ip daddr @published4 socket wildcard 1 goto unpublished",
    "ip6 daddr @published6 socket wildcard 1 goto unpublished",
    "ip daddr @published4 return",
    "ip6 daddr @published6 return",
    "goto unpublished",
)
_UNPUBLISHED = ("jump exceptions", _REJECT)
_BRIDGE = """\
add table bridge {table}
add chain bridge {table} taps {{ type filter hook input priority filter; policy accept; }}
flush chain bridge {table} taps
add rule bridge {table} taps iifname "{taps}*" meta mark set {mark}
"""


@dataclass(frozen=True)
class FirewallContext:
    """Facts that concern all partitions; `private` networks have unpublished addresses."""

    table: str
    master: frozenset[Endpoint] = frozenset()
    resolvers: frozenset[str] = frozenset()
    published: frozenset[str] = frozenset()
    private: tuple[str, ...] = ()
    exceptions: tuple[Destination, ...] = ()  # of the operator
    taps: str = ""  # what their names begin with; empty where there are none


@dataclass(frozen=True)
class GuardedPartition:
    """A partition: its user, addresses, request, and the users of all partitions by address."""

    name: str
    user: int
    addresses: tuple[str, ...]
    request: Firewall
    neighbours: Mapping[str, int]


@dataclass(frozen=True)
class Frame:
    """`stamp` is of the whole, and in it twice: in a set, where it costs little to look for it whatever else there is, and in
    a chain, for that is emptied also by who takes away rules alone."""

    text: str
    stamp: str


def frame(node: FirewallContext) -> Frame:
    """The script of the common rules; applied again it leaves the partitions' own rules alone."""
    text = _FRAME.format(table=node.table)
    text += "".join(_SETS.format(table=node.table, version=each, kind=kind) for each, kind in _KINDS.items())
    for name, addresses in (("published", node.published), ("resolvers", node.resolvers)):
        text += _elements(node.table, name, {each: each for each in addresses})
    text += _elements(node.table, "master", {address: f"{address} . {port}" for address, port in node.master})
    text += _chain(node.table, "refuse", _REFUSE)
    text += _chain(node.table, "exceptions", [f"{_to(each)} accept" for each in node.exceptions])
    text += _chain(node.table, "unpublished", _UNPUBLISHED)
    text += _chain(node.table, "guests", _GUESTS)
    text += _chain(node.table, "private", [f"{_to(Destination(parse_network(n)))} {_REJECT}" for n in node.private])
    text += _chain(node.table, "guard", _GUARD)
    text += _chain(node.table, "visitors", (*_REPLIES, *(_from_taps(node.taps) if node.taps else ()), *_DOORS))
    if node.taps:
        text += _BRIDGE.format(table=node.table, taps=node.taps, mark=_GUEST_MARK)
    stamp = f"0x{sha256(text.encode()).hexdigest()[:8]}"
    text += _STAMP_SET.format(table=node.table, name=STAMP, stamp=stamp)
    return Frame(text + _chain(node.table, STAMP, [f'counter comment "{stamp}"']), stamp)


def rules(table: str, partition: GuardedPartition) -> str:
    """The script that replaces a partition's own rules."""
    request = partition.request
    text = _chain(table, _out(partition), _outgoing(partition))
    text += _chain(table, _in(partition), _incoming(request))
    text += _chain(table, _near(partition), _calling(partition))
    text += f"add element inet {table} partitions {{ {partition.user} : jump {_out(partition)} }}\n"
    return text + "".join(_doors(table, partition, opened=bool(request.visitors)))


def removal(table: str, partition: GuardedPartition) -> str:
    """The script that removes a partition; it creates missing objects first, since only those can be deleted."""
    return (
        rules(table, partition)
        + "".join(_doors(table, partition, opened=False))
        + f"delete element inet {table} partitions {{ {partition.user} }}\n"
        + "".join(f"flush chain inet {table} {name}\n" for name in chains(partition))
    )


def chains(partition: GuardedPartition) -> tuple[str, str, str]:
    """The names of a partition's chains."""
    return _out(partition), _in(partition), _near(partition)


def _outgoing(partition: GuardedPartition) -> Iterable[str]:
    """Rules of outgoing packets. The master comes first, since it may listen on the partition's addresses."""
    request = partition.request
    verdict = "accept" if request.master else _REJECT
    yield from (f"{family} daddr . tcp dport @master{v} {verdict}" for v, family in _FAMILIES.items())
    if request.closes_something:
        yield f'oifname "lo" meta mark set {_MARK}'
    yield from (f"{_family(each)} daddr {each} accept" for each in partition.addresses)
    if request.master or request.internet:
        yield from (f"{family} daddr @resolvers{v} {_PORT} 53 accept" for v, family in _FAMILIES.items())
    if not request.closes_something:
        yield "jump exceptions"
    verdict = "accept" if request.partitions else _REJECT
    yield from (f"{family} daddr @published{v} {verdict}" for v, family in _FAMILIES.items())
    yield f'oifname "lo" {_REJECT}'
    yield "jump private"
    if not request.internet:
        yield from (f"{_to(each)} accept" for each in request.destinations)
        yield _REJECT


def _incoming(request: Firewall) -> Iterable[str]:
    """Rules of packets from outside: named visitors reach a port, others do not."""
    for port, sources in _by_port(request):
        for source in sources:
            yield f"{_family(source)} saddr {source} {port} accept"
        yield f"{port} {_REJECT}"


def _calling(partition: GuardedPartition) -> Iterable[str]:
    """From this computer, where a caller's address says nothing: root and the partition itself, for checks, and the users of
    the partitions whose addresses are named."""
    for port, sources in _by_port(partition.request):
        networks = [parse_network(each) for each in sources]
        named = {user for address, user in partition.neighbours.items() if _is_in(address, networks)}
        users = ", ".join(str(user) for user in sorted({0, partition.user, *named}))
        yield f"{port} meta skuid {{ {users} }} return"
        yield f"{port} {_REJECT}"


def _by_port(request: Firewall) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Rules of named ports, before those of all other ports."""
    for port, sources in sorted(request.visitors.items(), key=lambda item: item[0] == EVERY_PORT):
        yield ("meta l4proto { tcp, udp }" if port == EVERY_PORT else f"{_PORT} {port}"), sources


def _doors(table: str, partition: GuardedPartition, *, opened: bool) -> Iterable[str]:
    """Map elements that send packets to the partition's chains; changed by deletion and creation."""
    for address in partition.addresses:
        version = ipaddress.ip_address(address).version
        for name, chain in (("doors", _in(partition)), ("callers", _near(partition))):
            element = f"inet {table} {name}{version} {{ {address}"
            yield f"add element {element} : jump {chain} }}\n"
            if not opened:
                yield f"delete element {element} }}\n"


def _from_taps(taps: str) -> tuple[str, ...]:
    return f'iifname "{taps}*" jump guests', f"meta mark {_GUEST_MARK} jump guests"


def _chain(table: str, name: str, lines: Iterable[str]) -> str:
    head = f"add chain inet {table} {name}\nflush chain inet {table} {name}\n"
    return head + "".join(f"add rule inet {table} {name} {line}\n" for line in lines)


def _elements(table: str, name: str, elements: Mapping[str, str]) -> str:
    """Elements of the IPv4 and IPv6 sets, by address."""
    text = ""
    for version in _KINDS:
        own = sorted(each for address, each in elements.items() if ipaddress.ip_address(address).version == version)
        text += f"add element inet {table} {name}{version} {{ {', '.join(own)} }}\n" if own else ""
    return text


def _to(destination: Destination) -> str:
    port = f" {_PORT} {destination.port}" if destination.port else ""
    return f"{_FAMILIES[destination.version]} daddr {destination.network}{port}"


def _family(network: str) -> str:
    return _FAMILIES[parse_network(network).version]


def _is_in(address: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(ipaddress.ip_address(address) in network for network in networks)


def _out(partition: GuardedPartition) -> str:
    return f"{partition.name}-out"


def _in(partition: GuardedPartition) -> str:
    return f"{partition.name}-in"


def _near(partition: GuardedPartition) -> str:
    return f"{partition.name}-near"
