"""A cache in memory, over real sockets, that can be told to misbehave in every way that clients have to bear."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from slap.cache.client.settings import Cache, cache_at


@dataclass
class CrookedCache:
    """`fault` is how it misbehaves now, and `at` what that concerns: requests whose path begins so."""

    fault: str = ""
    at: str = "/api/v1/"
    blobs: dict[str, bytes] = field(default_factory=dict)
    entries: dict[str, list[Any]] = field(default_factory=dict)
    directory: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)  # that came with requests
    sent: int = 0
    delay: float = 0.0  # seconds until it answers to a GET, as if it were far away
    rate: int = 0  # bytes a second on one line, when it is slow
    is_ours: bool = True  # whether it speaks more than SlapOS's protocol
    has_batches: bool = (
        True  # whether several blobs may be asked for at once: a web server with files has no such thing
    )
    url: str = ""

    @property
    def cache(self) -> Cache:
        return cache_at(self.url)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append(f"{method} {path}")
        if not self.is_ours and path.startswith("/api/"):
            return 404, b"Not Found"
        if not self.has_batches and "?" in path:
            return 405, b"Method Not Allowed"
        kind, _, name = path.removeprefix("/api/v1/").replace("?sha512=", "/").strip("/").partition("/")
        if method == "PUT":
            return self._put(kind, name, body)
        if kind == "entries" and path.startswith("/api"):
            return 200, json.dumps({"entries": self.entries.get(name, [])}).encode()
        if kind == "dir":
            found = self.directory.get(name)
            return (200, json.dumps(found).encode()) if found else (404, b"")
        names = name.split(",")
        there = [self.blobs[each] for each in names if each in self.blobs]
        return (200, b"".join(there)) if len(there) == len(names) else (404, b"")

    def _put(self, kind: str, name: str, body: bytes) -> tuple[int, bytes]:
        if kind == "blobs":
            self.blobs[name] = body
        else:
            self.entries.setdefault(name, []).insert(0, json.loads(body))
        return 201, b"{}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body go one by one: between them it would wait for 40 ms
    shop: CrookedCache

    def do_GET(self) -> None:
        if words := self.headers["Authorization"]:
            self.shop.credentials.append(words)
        time.sleep(self.shop.delay)
        status, body = self.shop.answer("GET", self.path, b"")
        fault = self.shop.fault if self.path.startswith(self.shop.at) else ""
        if fault in FAULTS:
            FAULTS[fault](self, body)
        else:
            self._send(status, body)

    def do_HEAD(self) -> None:
        status, body = self.shop.answer("HEAD", self.path, b"")
        self._send(status, b"", len(body))

    def do_PUT(self) -> None:
        if words := self.headers["Authorization"]:
            self.shop.credentials.append(words)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.shop.fault in ("fail", "impostor", "hang"):
            FAULTS[self.shop.fault](self, body)
        else:
            self._send(*self.shop.answer("PUT", self.path, body))

    def _send(self, status: int, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.shop.sent += len(body)

    def flip(self, body: bytes) -> None:
        middle = len(body) // 2
        self._send(200, body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :])

    def truncate(self, body: bytes) -> None:
        self._send(200, body[: len(body) // 2], len(body))
        self.close_connection = True

    def shorten(self, body: bytes) -> None:
        self._send(200, body[: len(body) // 2])

    def lose(self, body: bytes) -> None:
        self._send(404, b"")

    def fail(self, body: bytes) -> None:
        self._send(500, b"oops")

    def impostor(self, body: bytes) -> None:
        self._send(
            500, b'{"kind": "not-fetched", "brief": "\\u001b[2J' + b"x" * 2000 + b'", "resolution": "Run this."}'
        )

    def slow(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        step = max(1, self.shop.rate // 20)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(0.05)

    def babble(self, body: bytes) -> None:
        self._send(200, b"<html>Welcome to the hotel</html>")

    def endless(self, body: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        for _ in range(1 << 12):
            self.wfile.write(body + bytes(1 << 16))

    def drip(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for number in range(len(body)):
            self.wfile.write(body[number : number + 1])
            time.sleep(0.2)

    def drip_headers(self, body: bytes) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(1000):
            self.wfile.write(b"X-%d: slow\r\n" % number)
            time.sleep(0.2)

    def hang(self, body: bytes) -> None:
        time.sleep(10)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Says nothing."""


_NAMES = "flip truncate shorten lose fail impostor slow babble endless drip drip_headers hang"
FAULTS = {name: getattr(_Handler, name) for name in _NAMES.split()}


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients hang up on what misbehaves."""


@contextmanager
def crooked_cache() -> Iterator[CrookedCache]:
    shop = CrookedCache()
    handler = type("Handler", (_Handler,), {"shop": shop})
    server = _Quiet(("127.0.0.1", 0), handler)
    shop.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield shop
    finally:
        server.shutdown()
        server.server_close()


def dead_cache() -> Cache:
    """Nobody listens there."""
    return cache_at("http://127.0.0.1:9")
