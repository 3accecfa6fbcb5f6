"""Who has a port, and whether one is free."""

import os
import socket
from pathlib import Path

import pytest

from slap.system.network.ports import Endpoint, Holder, first_free_port, holder_of, is_free, is_held_by
from slap.system.network.socat import Protocol

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1234        0 777 1 0 100 0 0 10 0
   1: 0100007F:1F91 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 778 1 0 100 0 0 10 0
   2: 00000000:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 779 1 0 100 0 0 10 0
"""
TABLE_6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue ...
   0: B80D0120000000000000000002000000:1F93 00000000000000000000000000000000:0000 0A 0:0 00:0 0 55 0 780 1 0 100
   1: 00000000000000000000000000000000:1F94 00000000000000000000000000000000:0000 0A 0:0 00:0 0 56 0 781 1 0 100
"""


@pytest.mark.parametrize(
    ("address", "port", "holder"),
    [
        ("127.0.0.1", 8080, Holder(777, 1234)),
        ("127.0.0.2", 8080, None),
        ("127.0.0.1", 8081, None),  # a connection, nobody waits
        ("127.0.0.1", 8082, Holder(779, 0)),  # on all addresses
        ("2001:db8::2", 8083, Holder(780, 55)),
        ("127.0.0.1", 8084, Holder(781, 56)),  # on all of both kinds
        ("127.0.0.1", 1, None),
    ],
)
def test_who_has_a_port_is_read_from_the_kernels_tables(
    tmp_path: Path, address: str, port: int, holder: Holder | None
) -> None:
    (tmp_path / "tcp").write_text(TABLE)
    (tmp_path / "tcp6").write_text(TABLE_6)
    assert holder_of(Endpoint(address, port), network=tmp_path) == holder
    assert holder_of(Endpoint(address, port), "udp", tmp_path) is None


@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_socket_of_ours_is_found(protocol: Protocol, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as server:
        server.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            server.listen()
        endpoint = Endpoint(*server.getsockname())
        holder = holder_of(endpoint, protocol)
        assert holder is not None
        assert holder.user == os.getuid()
        assert is_held_by(holder, [1, os.getpid(), 99_999_999])
        assert not is_held_by(holder, [os.getppid()])
        assert not is_free(endpoint, protocol)
    assert is_free(endpoint, protocol)


def test_the_first_free_port_is_the_kernels() -> None:
    assert first_free_port() == int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
