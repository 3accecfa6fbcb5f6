"""Ports of this computer: whether one is free, and who has it."""

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from slap.system.network.socat import Protocol

_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_NETWORK = Path("/proc/net")
# What a socket that waits for others has as its state (linux/net/tcp_states.h).
_WAITING = {"tcp": "0A", "udp": "07"}


@dataclass(frozen=True)
class Endpoint:
    address: str
    port: int


@dataclass(frozen=True)
class Holder:
    """The socket that has a port: by its number, and its user's."""

    inode: int
    user: int


def first_free_port() -> int:
    """The first one that anybody may listen on; those below are root's."""
    try:
        return int(_UNPRIVILEGED.read_text())
    except OSError:
        return 1024


def is_free(endpoint: Endpoint, protocol: Protocol = "tcp") -> bool:
    """Whether a server could listen there now."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(_family(endpoint), kind) as probe:
        if protocol == "tcp":  # else it would share the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((endpoint.address, endpoint.port))
        except OSError:
            return False
    return True


def holder_of(endpoint: Endpoint, protocol: Protocol = "tcp", network: Path = _NETWORK) -> Holder | None:
    """Who listens there, on that address or on all of them."""
    names = (protocol, f"{protocol}6")
    tables = {name: network / name for name in names if (network / name).exists()}
    found = [holder for path in tables.values() for holder in _holders(path.read_text(), endpoint, _WAITING[protocol])]
    return next(iter(found), None)


def is_held_by(holder: Holder, processes: Iterable[int]) -> bool:
    """Whether one of these processes has the socket open."""
    wanted = f"socket:[{holder.inode}]"
    return any(wanted in _open_files(pid) for pid in processes)


def _holders(table: str, endpoint: Endpoint, waiting: str) -> Iterator[Holder]:
    """From a table of /proc/net (proc(5)): its second column is address and port, then come the state, user and inode."""
    ours = {_in_table(endpoint.address), _in_table("0.0.0.0"), _in_table("::")}
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, _, port = fields[1].partition(":")
        if address in ours and int(port, 16) == endpoint.port and fields[3] == waiting:
            yield Holder(int(fields[9]), int(fields[7]))


def _in_table(address: str) -> str:
    """Each four bytes are a number in the processor's own order."""
    packed = ip_address(address).packed
    return "".join(f"{int.from_bytes(packed[at : at + 4], sys.byteorder):08X}" for at in range(0, len(packed), 4))


def _open_files(pid: int) -> list[str]:
    folder = f"/proc/{pid}/fd"
    try:
        return [_leads_to(f"{folder}/{name}") for name in os.listdir(folder)]
    except OSError:  # gone, or somebody else's
        return []


def _leads_to(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed meanwhile
        return ""


def _family(endpoint: Endpoint) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
