"""A master as it is served, with limits that are soon reached, and raw connections to it."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn

from slap.master.server import server_config
from slap.master.service.accounts import create_user
from slap.master.settings import MasterSettings
from tests.contract.master.world import until

KIB = 1 << 10
CAPACITY = 100
LIMITS: dict[str, Any] = {
    "header_seconds": 1.0,
    "body_seconds": 0.5,
    "unknown_connections": 50,
    "connections_per_address": 30,
    "connections_per_caller": 10,
    "unknown_bodies": 128 * KIB,
    "request_body": 256 * KIB,
    "bodies_per_owner": 512 * KIB,
    "body_wait_seconds": 0.3,
}


@dataclass
class Target:
    """A running master; connections that `connect` opens stay open until the test ends."""

    address: tuple[str, int]
    tls: bool
    tokens: dict[str, str]
    connections: ExitStack = field(default_factory=ExitStack)

    def connect(self, first: bytes = b"", receive_buffer: int = 0) -> socket.socket:
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(20)
        self.connections.callback(raw.close)
        raw.connect(self.address)
        if not self.tls:
            connected = raw
        else:
            connected = _client_context().wrap_socket(raw)
            self.connections.callback(connected.close)
        send(connected, first)
        return connected

    def request(self, method: str, path: str, headers: str = "", user: str = "", body: bytes = b"") -> bytes:
        """The bytes of a request; without a user, of a caller without credentials."""
        token = f"Authorization: Bearer {self.tokens[user]}\r\n" if user else ""
        return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{token}{headers}\r\n".encode() + body

    def ask(self, path: str, user: str = "", method: str = "GET", document: Any = None) -> tuple[int, Any]:
        """The status and the document of an answer, over a connection of its own."""
        body = b"" if document is None else json.dumps(document).encode()
        headers = f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        with self.connect(self.request(method, path, headers, user, body)) as connection:
            answer = read_all(connection)
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(content)

    def large_computer(self) -> str:
        """The path of a document of alice's of some hundred KiB."""
        _, computer = self.ask("/api/v1/computers", "alice", "POST", {"title": "large"})
        self.tokens["computer"] = computer["token"]
        partitions = [{"name": f"slappart{number}", "ipv4": ["10.0.0.1"]} for number in range(3000)]
        path = f"/api/v1/computers/{computer['guid']}"
        assert self.ask(f"{path}/configuration", "computer", "PUT", {"partitions": partitions})[0] == 200
        return path

    def refused(self, refusal: str) -> int:
        return int(self.ask("/health")[1]["refused"].get(refusal, 0))

    def open_connections(self) -> dict[str, int]:
        """Those that the master counts, the one that asks among them."""
        found: dict[str, int] = self.ask("/health")[1]["connections"]
        return found

    def is_serving(self) -> bool:
        """Whether another tenant is served."""
        return self.ask("/api/v1/instances", "bob") == (200, [])


def send(connection: socket.socket, data: bytes) -> bool:
    """Send as much as the other end takes; whether that was all."""
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other end closes."""
    found = b""
    try:
        while data := connection.recv(65536):
            found += data
    except ConnectionError:
        pass
    return found


def is_closed_within(connection: socket.socket, seconds: float) -> bool:
    """Whether the other end closes a connection, whatever it sends before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            if not connection.recv(65536):
                return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False


@contextmanager
def hostile_target(database: str, folder: Path, tls: bool, **limits: Any) -> Iterator[Target]:
    """A master with users alice and bob, while the block runs."""
    settings = MasterSettings.model_validate(
        {"database_url": database, "log_level": "error", "tls": "own" if tls else "off", **LIMITS, **limits}
    )
    tokens = {name: create_user(database, name) for name in ("alice", "bob")}
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        server = uvicorn.Server(server_config(settings, CAPACITY))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        target = Target(listener.getsockname(), tls, tokens)
        try:
            until(lambda: server.started)
            yield target
        finally:
            target.connections.close()
            server.should_exit = True
            thread.join()


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
