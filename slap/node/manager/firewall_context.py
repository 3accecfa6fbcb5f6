"""Facts that the partition firewall needs: addresses of master, resolvers and other partitions."""

import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from slap.model.computer import Partition
from slap.model.errors import InvalidInput, NotFound
from slap.model.network.firewall import Destination, parse_destination
from slap.node.core.accounts import partition_account
from slap.node.core.config import NodeConfig
from slap.node.core.formatted import FORMATTED, read_format
from slap.node.manager.firewall_rules import Endpoint, FirewallContext
from slap.system import files
from slap.system.clock import Clock
from slap.system.network.addresses import plain_address

log = logging.getLogger(__name__)

SYSTEM_ROOT = Path("/opt/slapos")
_RESOLVED = 300.0  # seconds that the master's addresses are taken for known
_PORTS = {"http": 80, "https": 443}
_RESOLVERS = Path("/etc/resolv.conf")

Resolve = Callable[[str], list[str]]


def table_of(config: NodeConfig) -> str:
    """The name of this node's nft table; the node in the system's place has the plain name."""
    if config.root == SYSTEM_ROOT:
        return "slapos"
    return f"slapos-{sha256(str(config.root).encode()).hexdigest()[:8]}"


class MasterAddress:
    """The master's addresses, resolved again now and then."""

    def __init__(self, url: str, clock: Clock, resolve: Resolve) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS.get(parts.scheme, 443)
        self._clock = clock
        self._resolve = resolve
        self._known: frozenset[Endpoint] = frozenset()
        self._resolved_at = float("-inf")

    def endpoints(self) -> frozenset[Endpoint]:
        """The master's endpoints; the last known ones when the resolver fails."""
        if self._host and self._clock.monotonic() - self._resolved_at > _RESOLVED:
            self._resolved_at = self._clock.monotonic()
            try:
                self._known = frozenset((address, self._port) for address in self._resolve(self._host))
            except OSError as error:
                log.warning("The address of the master %s is not known: %s", self._host, error)
        return self._known


class Neighbourhood:
    """Reads the facts from files and resolvers, again when they may have changed."""

    def __init__(self, config: NodeConfig, clock: Clock, resolve: Resolve) -> None:
        self._config = config
        self._master = MasterAddress(config.master_url, clock, resolve)
        self._stamps: tuple[float, ...] = ()
        self._partitions: tuple[Partition, ...] = ()
        self._surroundings: FirewallContext | None = None

    def surroundings(self) -> FirewallContext:
        """The same object, as long as nothing changed."""
        master = self._master.endpoints()
        self._refresh()
        if self._surroundings is None:
            self._surroundings = surroundings(self._config, self._partitions, files.read_or(_RESOLVERS, ""))
        if self._surroundings.master != master:
            self._surroundings = replace(self._surroundings, master=master)
        return self._surroundings

    def users(self) -> dict[str, int]:
        """Users of partitions, by their addresses."""
        self._refresh()
        return dict(_users_of(self._config, self._partitions))

    def _refresh(self) -> None:
        paths = (self._config.root / FORMATTED, _RESOLVERS)
        stamps = tuple(path.stat().st_mtime if path.exists() else 0.0 for path in paths)
        if stamps != self._stamps:
            self._partitions, self._stamps, self._surroundings = read_format(self._config).partitions, stamps, None


def surroundings(config: NodeConfig, partitions: tuple[Partition, ...], resolvers: str) -> FirewallContext:
    """What partitions publish is their IPv6 addresses; without those, others have to reach the IPv4 ones."""
    published = {address for each in partitions for address in each.ipv6 or each.ipv4}
    has_private = any(each.ipv6 for each in partitions)
    return FirewallContext(
        table=table_of(config),
        resolvers=frozenset(_nameservers(resolvers)),
        published=frozenset(published),
        private=(config.format.ipv4_local_network,) if has_private else (),
        exceptions=_exceptions(config),
        taps=config.format.tap_base_name if config.format.create_tap else "",
    )


def resolve_host(host: str) -> list[str]:
    """The addresses of a host, without zones, as rules need them."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return sorted({str(address[4][0]) for address in found if "%" not in str(address[4][0])})


def _nameservers(text: str) -> list[str]:
    words = [line.split() for line in text.splitlines()]
    named = [each[1] for each in words if len(each) > 1 and each[0] == "nameserver" and "%" not in each[1]]
    return [plain_address(each) for each in named]


def _exceptions(config: NodeConfig) -> tuple[Destination, ...]:
    text = config.managers.get("firewall", {}).get("allow", "")
    try:
        return tuple(map(parse_destination, text.split()))
    except ValueError as error:
        raise InvalidInput("allow of [manager:firewall] is wrong.", str(error), "Mend it in slapos.cfg.") from error


def _users_of(config: NodeConfig, partitions: Iterable[Partition]) -> Iterable[tuple[str, int]]:
    for partition in partitions:
        try:
            user = partition_account(config, partition.name).user
        except NotFound:  # its user is gone, so nobody is it
            continue
        yield from ((address, user) for address in (*partition.ipv6, *partition.ipv4) if user is not None)
