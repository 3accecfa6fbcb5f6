"""HTTP/1.1 by bare sockets: the same client for both masters, cheap enough not to be what is measured."""

import socket
from collections.abc import Mapping
from typing import NamedTuple


class Answer(NamedTuple):
    status: int
    body: bytes


class Call(NamedTuple):
    """A request, ready to be sent."""

    method: str
    path: str
    body: bytes = b""
    content_type: str = "application/json"
    token: str = ""

    def encode(self, host: str) -> bytes:
        authorization = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        head = (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n{authorization}"
            f"Content-Type: {self.content_type}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


class Client:
    """One connection at a time, kept open for as long as the server keeps it."""

    def __init__(self, port: int, patience: float = 120.0) -> None:
        self._address = ("127.0.0.1", port)
        self._patience = patience
        self._socket: socket.socket | None = None

    def send(self, call: Call) -> Answer:
        data = call.encode(f"127.0.0.1:{self._address[1]}")
        reused = self._socket is not None
        try:
            return self._exchange(data)
        except (ConnectionError, EOFError):
            self.close()
            if not reused:
                raise
            return self._exchange(data)

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None

    def _exchange(self, data: bytes) -> Answer:
        if not self._socket:
            self._socket = socket.create_connection(self._address, self._patience)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(data)
        head, _, start = self._read_until_blank_line().partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
        answer = Answer(int(lines[0].split()[1]), self._read_body(headers, start))
        if _is_last(lines[0], headers):
            self.close()
        return answer

    def _read_until_blank_line(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        return data

    def _read_body(self, headers: Mapping[str, str], start: bytes) -> bytes:
        if headers.get("transfer-encoding", "") == "chunked":
            return self._read_chunks(start)
        if "content-length" not in headers:
            return start + b"".join(iter(lambda: self._open.recv(1 << 16), b""))
        chunks, missing = [start], int(headers["content-length"]) - len(start)
        while missing > 0:
            chunks.append(self._receive())
            missing -= len(chunks[-1])
        return b"".join(chunks)

    def _read_chunks(self, start: bytes) -> bytes:
        body, buffer = bytearray(), bytearray(start)
        while True:
            while b"\r\n" not in buffer:
                buffer += self._receive()
            line = bytes(buffer[:20]).partition(b"\r\n")[0]
            size, begin = int(line, 16), len(line) + 2
            while len(buffer) < begin + size + 2:
                buffer += self._receive()
            body += buffer[begin : begin + size]
            del buffer[: begin + size + 2]
            if not size:
                return bytes(body)

    def _receive(self) -> bytes:
        data = self._open.recv(1 << 16)
        if not data:
            raise EOFError("the server closed the connection")
        return data

    @property
    def _open(self) -> socket.socket:
        assert self._socket
        return self._socket


def _is_last(status_line: str, headers: Mapping[str, str]) -> bool:
    connection = headers.get("connection", "").lower()
    is_endless = "content-length" not in headers and "transfer-encoding" not in headers
    return is_endless or connection == "close" or status_line.startswith("HTTP/1.0")


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def answers(host: str, port: int) -> bool:
    """Whether something accepts a connection there."""
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True
