"""A server of software releases that means harm: each path is an attack."""

import gzip
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Send = Callable[[bytes], object]
Attack = Callable[["Server", Send], None]
_OK = b"HTTP/1.1 200 OK\r\n"


class Server(socketserver.ThreadingTCPServer):
    """`asked` has the paths of all requests; what `release` is set is sent no more."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, host: str, files: dict[str, Attack]) -> None:
        super().__init__((host, 0), _Handler)
        self.files = files
        self.asked: list[str] = []
        self.released = threading.Event()
        self.url = f"http://{host}:{self.server_address[1]}"


class _Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        line = self.rfile.readline().decode("latin-1").split(" ")
        while self.rfile.readline().strip():
            pass
        path = line[1] if len(line) > 1 else ""
        self.server.asked.append(path)
        attack = self.server.files.get(path, status(404))
        with suppress(OSError):
            attack(self.server, self.request.sendall)


@contextmanager
def serving(files: dict[str, Attack], host: str = "127.0.0.2") -> Iterator[Server]:
    """A server that answers each path as told, and all others by 404, while the block runs."""
    with Server(host, files) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()


def body(content: bytes, *headers: str, length: object = None) -> Attack:
    head = "".join(
        f"{header}\r\n" for header in (*headers, f"Content-Length: {len(content) if length is None else length}")
    )

    def answer(_: Server, send: Send) -> None:
        send(_OK + head.encode() + b"\r\n" + content)

    return answer


def document(value: object) -> Attack:
    return body(json.dumps(value).encode())


def status(code: int, *headers: str) -> Attack:
    head = "".join(f"{header}\r\n" for header in (*headers, "Content-Length: 0"))

    def answer(_: Server, send: Send) -> None:
        send(f"HTTP/1.1 {code} No\r\n{head}\r\n".encode())

    return answer


def redirect(target: str) -> Attack:
    return lambda server, send: status(302, f"Location: {target.format(server.url)}")(server, send)


def endless(head: bytes, piece: bytes) -> Attack:
    """As fast as the other side takes it."""

    def answer(server: Server, send: Send) -> None:
        send(head)
        while not server.released.is_set():
            send(piece)

    return answer


def dripping(head: bytes, piece: bytes = b"x") -> Attack:
    """A piece now and then, more often than any time-out of a single read."""

    def answer(server: Server, send: Send) -> None:
        send(head)
        while not server.released.wait(0.1):
            send(piece)

    return answer


def silent(server: Server, send: Send) -> None:
    server.released.wait(30)


def bomb(size: int) -> Attack:
    return body(gzip.compress(bytes(size)), "Content-Encoding: gzip")
