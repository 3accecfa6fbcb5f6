"""Servers that nothing comes back from, on loopback: one whose packets seem to be dropped, and one that says not a word."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def dropping() -> Iterator[int]:
    """A port at which connections are neither made nor refused: its queue is full, and nobody takes from it."""
    with ExitStack() as stack:
        listener = stack.enter_context(_listener(0))
        port: int = listener.getsockname()[1]
        while _is_let_in(stack.enter_context(socket.socket()), port):
            continue
        yield port


@contextmanager
def mute() -> Iterator[int]:
    """A port at which connections are made, by the kernel, and never answered."""
    with _listener(64) as listener:
        yield listener.getsockname()[1]


def _listener(backlog: int) -> socket.socket:
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen(backlog)
    return made


def _is_let_in(caller: socket.socket, port: int) -> bool:
    caller.settimeout(0.3)
    try:
        caller.connect(("127.0.0.1", port))
    except TimeoutError:
        return False
    return True
