"""Who is at the other end of a connection on this machine, as the kernel knows it."""

import ipaddress
import pwd
import socket
import struct
from pathlib import Path

Address = tuple[str, int]

# linux/inet_diag.h: a question for one socket by its ends, and where in the answer the user is.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NO_COOKIE = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBBI")
_ENDS = struct.Struct("!HH16s16s")
_INTERFACE_AND_COOKIE = struct.Struct("=III")
_USER_AND_INODE = struct.Struct("=II")
_USER_OFFSET = _HEADER.size + 4 + _ENDS.size + _INTERFACE_AND_COOKIE.size + 12


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def user_of_socket(its: Address, ours: Address) -> int | None:
    """The Unix user who made the socket with the address `its`, which is connected to `ours`; None for none found, and for
    one that was closed already.

    The kernel looks it up by both ends, so this costs the same however many connections there are.
    """
    family = socket.AF_INET6 if ":" in its[0] else socket.AF_INET
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1)
        try:
            netlink.send(_question(family, its, ours))
            return _user_in(netlink.recv(4096))
        except OSError:
            return None


def home_name(user: int) -> str:
    """The name of a user's home folder: that of a partition, for a user of one. Empty for an unknown user."""
    try:
        return Path(pwd.getpwuid(user).pw_dir).name
    except KeyError:
        return ""


def _question(family: socket.AddressFamily, its: Address, ours: Address) -> bytes:
    source, destination = (socket.inet_pton(family, host).ljust(16, b"\0") for host, _ in (its, ours))
    body = (
        _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF)
        + _ENDS.pack(its[1], ours[1], source, destination)
        + _INTERFACE_AND_COOKIE.pack(0, _NO_COOKIE, _NO_COOKIE)
    )
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body


def _user_in(answer: bytes) -> int | None:
    if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    user, inode = _USER_AND_INODE.unpack_from(answer, _USER_OFFSET)
    # Of what nobody holds any more, whoever it was, the kernel says that it is root's.
    return int(user) if inode else None
