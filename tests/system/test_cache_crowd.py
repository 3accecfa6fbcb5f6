"""Readers who take nothing: one address cannot take all connections of a cache, nor much of its memory."""

import socket
from contextlib import ExitStack
from pathlib import Path

from slap.system import environment
from tests.system.cache_server import CacheServer, cache_server, noise
from tests.system.namespaces import a_namespace

MIB = 1 << 20
CROWD, OTHER = "192.0.2.1", "192.0.2.2"


def reader(server: CacheServer, address: str, path: str, stack: ExitStack) -> socket.socket:
    """Who asks, and does not take the answer."""
    connection = stack.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.bind((address, 0))
    connection.connect((CROWD, server.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: cache\r\n\r\n".encode())
    return connection


def is_served(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1))
    except ConnectionError:
        return False


def is_let_in(server: CacheServer, path: str, stack: ExitStack) -> bool:
    try:
        return is_served(reader(server, CROWD, path, stack))
    except ConnectionError:  # before it could ask
        return False


if environment.is_root():

    def test_one_address_does_not_lock_out_the_others(tmp_path: Path) -> None:
        with a_namespace() as place, ExitStack() as stack:
            for address in (CROWD, OTHER):
                place.ip("address", "add", f"{address}/32", "dev", "lo")
            with place.inside(), cache_server(tmp_path, "host = 0.0.0.0\n") as server:
                path = f"/cache/{server.put(noise(16 * MIB))}"
                before = server.memory()
                crowd = [reader(server, CROWD, path, stack) for _ in range(200)]
                assert all(is_served(each) for each in crowd)
                assert not any(is_let_in(server, path, stack) for _ in range(20))
                assert is_served(reader(server, OTHER, path, stack))
                assert server.memory() - before < 320 * MIB
