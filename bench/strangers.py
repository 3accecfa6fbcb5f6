"""Slow strangers: connections without credentials that hold what a server has, from a process of their own."""

import multiprocessing
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Event

# What they begin with; then each sends a byte now and then, for ever, and connects anew when it is hung up on.
STARTS = (
    b"",
    b"GET /health HTTP/1.1\r\nHost: x\r\nX: ",
    b"POST /api/v1/registrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{",
    b"POST /api/v1/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n" + b"x" * 60_000,
)
PAUSE = 1.0


@contextmanager
def strangers(port: int, number: int = 2000) -> Iterator[None]:
    """Have so many at a server while the block runs, from when all have connected once."""
    context = multiprocessing.get_context("fork")
    ready, end = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(port, number, ready, end), daemon=True)
    process.start()
    try:
        ready.wait()
        yield
    finally:
        end.set()
        process.join()


def _hold(port: int, number: int, ready: Event, end: Event) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held: list[socket.socket | None] = [None] * number
    while not end.is_set():
        for place in range(number):
            held[place] = _poke(held[place]) or _connect(port, STARTS[place % len(STARTS)])
        ready.set()
        time.sleep(PAUSE)


def _poke(connection: socket.socket | None) -> socket.socket | None:
    """Send one byte more; None for a connection that is over."""
    if connection is None:
        return None
    try:
        with suppress(BlockingIOError):
            while connection.recv(65536):
                pass
            return None
        connection.send(b"a")
        return connection
    except OSError:
        return None


def _connect(port: int, start: bytes) -> socket.socket | None:
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        connection.setblocking(False)
        with suppress(BlockingIOError):
            connection.send(start)
        return connection
    except OSError:
        return None
