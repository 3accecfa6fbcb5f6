"""The socket that a server listens on."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from slap.model.errors import Conflict

_BACKLOG = 2048


@contextmanager
def listening(who: str, host: str, port: int) -> Iterator[socket.socket]:
    """Listen until the block ends; raises Conflict, in the name of `who`, when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            raise Conflict(
                f"{who} cannot listen on port {port} of {host}.",
                str(error.strerror),
                f"Stop what uses it (ss -ltnp 'sport = {port}'), or choose another port.",
            ) from error
        yield listener
