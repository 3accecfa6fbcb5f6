"""Whether something answers at an address: a port, a page, what a forwarder leads to. All of it within a time."""

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from slap.model.check import NetworkCheck
from slap.system.network.reader import Reader, answers_by

Sensed = tuple[bool, str]

# Of a page that is searched for `expect`, this much is read, and of a greeting that much.
_LONGEST_PAGE = 1 << 20
_LONGEST_GREETING = 4096
# A forwarder hangs up within this many seconds when what it leads to refuses the connection.
_HANGS_UP = 0.5


def sense_network(check: NetworkCheck) -> Sensed:
    """Whether it passes, and what is wrong."""
    where = f"{check.host} port {check.port}"
    try:
        return _SENSES[check.check](check)
    except TimeoutError:
        return False, f"{where} did not answer within {check.timeout:g} s."
    except ConnectionRefusedError:
        return False, f"Nothing listens on {where}."
    except (ConnectionResetError, ConnectionAbortedError) as error:
        return False, f"{where}: {error}" if check.check == "url" else _nothing_behind(check)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return False, f"{where}: {error or type(error).__name__}"


def _sense_port(check: NetworkCheck) -> Sensed:
    deadline = time.monotonic() + check.timeout
    with socket.create_connection((check.host, check.port), check.timeout) as channel:
        if check.send:
            channel.sendall(f"{check.send}\r\n".encode())
        return _greets(channel, check, deadline) if check.expect or check.send else (True, "")


def _sense_forward(check: NetworkCheck) -> Sensed:
    """A forwarder accepts a connection before it makes its own, and hangs up when it cannot make one."""
    deadline = time.monotonic() + check.timeout
    with socket.create_connection((check.host, check.port), check.timeout) as channel:
        if check.expect:
            return _greets(channel, check, deadline)
        channel.settimeout(min(check.timeout, _HANGS_UP))
        try:
            return (True, "") if channel.recv(1) else (False, _nothing_behind(check))
        except TimeoutError:  # it is the caller's turn to speak
            return True, ""


def _greets(channel: socket.socket, check: NetworkCheck, deadline: float) -> Sensed:
    """Whether the server says what is expected, or anything when nothing special is."""
    said, source = b"", _Patient(channel, deadline)
    while not said or check.expect.encode() not in said:
        try:
            piece = source.read(_LONGEST_GREETING - len(said))
        except TimeoutError:
            if not said:
                raise
            piece = b""
        if not piece:
            return False, _wrong_greeting(check, said) if said else _nothing_behind(check)
        said += piece
    return True, ""


def _wrong_greeting(check: NetworkCheck, said: bytes) -> str:
    return f"{check.host} port {check.port} said {said[:80]!r}, without {check.expect!r}."


def _nothing_behind(check: NetworkCheck) -> str:
    where = f"{check.host} port {check.port}"
    if check.target:
        return f"{where} is forwarded, but nothing answers at {check.target}."
    return f"{where} hangs up."


def _sense_url(check: NetworkCheck) -> Sensed:
    connection = _connection(check)
    deadline = time.monotonic() + check.timeout
    connection.response_class = answers_by(lambda source: _Patient(source, deadline))  # type: ignore[assignment]
    try:
        connection.request("GET", check.path, headers={"Connection": "close"})
        answer = connection.getresponse()
        page = answer.read(_LONGEST_PAGE) if check.expect else b""
    finally:
        connection.close()
    if answer.status >= 400:
        return False, f"{check.path} answered {answer.status} {answer.reason}."
    if check.expect and check.expect.encode() not in page:
        return False, f"{check.path} answered without {check.expect!r}."
    return True, ""


class _Patient(Reader):
    """Reads from a socket up to a moment; a socket's own time-out begins again with each byte that drips in."""

    def __init__(self, source: socket.socket, deadline: float) -> None:
        super().__init__(source)
        self._deadline = deadline

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.source.settimeout(left)
        return self.open.readinto(buffer) or 0


def _connection(check: NetworkCheck) -> http.client.HTTPConnection:
    """The certificate is not verified: the question is whether the service answers, on an address that is its own."""
    if check.tls:
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection(check.host, check.port, timeout=check.timeout, context=context)
    return http.client.HTTPConnection(check.host, check.port, timeout=check.timeout)


_SENSES: dict[str, Callable[[NetworkCheck], Sensed]] = {
    "port": _sense_port,
    "url": _sense_url,
    "forward": _sense_forward,
}
