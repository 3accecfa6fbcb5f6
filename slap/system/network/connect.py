"""Calls to hosts of several addresses: one from which nothing comes back does not keep us from the next one."""

import os
import socket
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from selectors import EVENT_WRITE, DefaultSelector
from typing import Any

# Seconds after which the next address is tried too (RFC 8305).
_HEAD_START = 0.25


# As socket.getaddrinfo tells it.
Address = tuple[int, int, int, str, Any]


def dial(host: str, port: int, seconds: float) -> socket.socket:
    """A connection to a host; raises OSError. The time is for all of its addresses, but not for its name."""
    return dial_any(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), seconds)


def dial_any(addresses: Iterable[Address], seconds: float) -> socket.socket:
    """A connection to whichever address answers first; those named first have a head start. Raises OSError."""
    left = deque(addresses)
    deadline = time.monotonic() + seconds
    with _Calls() as calls:
        while (rest := deadline - time.monotonic()) > 0 and (left or calls.go_on):
            if left:
                calls.begin(*left.popleft())
            if connected := calls.first(min(rest, _HEAD_START) if left else rest):
                connected.settimeout(seconds)
                return connected
        raise TimeoutError("timed out") if calls.go_on else calls.error


class _Calls:
    """Connections that are being made at the same time; those that nobody took are closed at the end."""

    def __init__(self) -> None:
        self.error = OSError("it has no address")  # of the last one that failed
        self._callers: dict[int, socket.socket] = {}
        self._selector = DefaultSelector()

    def __enter__(self) -> "_Calls":
        return self

    def __exit__(self, *_: object) -> None:
        for number in tuple(self._callers):
            self._release(number).close()
        self._selector.close()

    @property
    def go_on(self) -> bool:
        return bool(self._callers)

    def begin(self, family: int, kind: int, protocol: int, _: str, address: Any) -> None:
        try:
            caller = socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this machine does not speak
            self.error = error
            return
        caller.setblocking(False)
        self._callers[caller.fileno()] = caller
        self._selector.register(caller.fileno(), EVENT_WRITE)
        try:
            with suppress(BlockingIOError):
                caller.connect(address)
        except OSError as error:
            self.error = error
            self._release(caller.fileno()).close()

    def first(self, seconds: float) -> socket.socket | None:
        """The first one that is made, if one is within so many seconds."""
        if not self.go_on:
            return None
        for key, _ in self._selector.select(seconds):
            caller = self._release(key.fd)
            failure = caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not failure:
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return caller
            self.error = OSError(failure, os.strerror(failure))
            caller.close()
        return None

    def _release(self, number: int) -> socket.socket:
        self._selector.unregister(number)
        return self._callers.pop(number)
