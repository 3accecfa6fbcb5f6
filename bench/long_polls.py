"""Nodes that wait: many long polls held open by one process of its own, each from an address of its own, as nodes are.

Bare sockets and one epoll, so that a thousand polls cost the client next to nothing. Each poll that is answered is sent
again with the revision that it was told, as a node does.
"""

import json
import multiprocessing
import resource
import select
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from cage import CommandFailed

WAIT = 60  # seconds: the longest that the master allows
STARTING_AT_ONCE = 200
IP_BIND_ADDRESS_NO_PORT = 24
SPARE_DESCRIPTORS = 500


@dataclass(frozen=True)
class Computer:
    """Whose desired state is polled."""

    guid: str
    token: str


class LongPolls:
    """The outer end: polls of computers at a port, until it is closed."""

    def __init__(self, port: int, computers: Sequence[Computer], tls: bool = False) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, inner = context.Pipe()
        self._process = context.Process(target=_hold, args=(inner, port, computers, tls), daemon=True)
        self._process.start()
        inner.close()
        self._receive()  # all are connected and sent

    def expect_news(self, numbers: Sequence[int]) -> None:
        """From now on, note when these polls are told of a change."""
        self._pipe.send(("expect", tuple(numbers)))
        self._receive()

    def wait_for_news(self, seconds: float = 60) -> list[float]:
        """When (by time.perf_counter) each poll that news are expected of was told; raises CommandFailed after a while."""
        self._pipe.send(("news", seconds))
        return list(self._receive())

    def waiting(self) -> int:
        """How many connections are open and have no answer yet."""
        self._pipe.send(("waiting",))
        return int(self._receive())

    def answers(self) -> int:
        """How many answers came in all."""
        self._pipe.send(("answers",))
        return int(self._receive())

    def close(self) -> None:
        self._process.terminate()
        self._process.join()
        self._pipe.close()

    def _receive(self) -> Any:
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


def allow_polls(wanted: int) -> int:
    """How many polls, of so many wanted, one process may have open: descriptors are raised for this and its children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_DESCRIPTORS
    with suppress(ValueError):  # only a privileged process may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), max(hard, needed)))
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - SPARE_DESCRIPTORS


@dataclass
class _Poll:
    """One connection. `since` is the revision that was told last."""

    computer: Computer
    socket: socket.socket
    since: int = -1
    received: bytes = b""
    told_at: float = 0.0  # of the last change
    is_waiting: bool = False

    def send(self) -> None:
        since = max(self.since, 0)
        wait = WAIT if self.since >= 0 else 0
        self.socket.sendall(
            f"GET /api/v1/computers/{self.computer.guid}/state?since={since}&wait={wait} HTTP/1.1\r\n"
            f"Host: master\r\nAccept: application/json\r\nUser-Agent: slapos/1\r\nAccept-Encoding: identity\r\n"
            f"Authorization: Bearer {self.computer.token}\r\n\r\n".encode()
        )
        self.is_waiting = wait > 0


@dataclass
class _Holder:
    polls: list[_Poll]
    epoll: select.epoll = field(default_factory=select.epoll)
    by_descriptor: dict[int, int] = field(default_factory=dict)
    answers: int = 0

    def register(self, number: int) -> None:
        poll = self.polls[number]
        poll.socket.setblocking(False)
        self.by_descriptor[poll.socket.fileno()] = number
        self.epoll.register(poll.socket.fileno(), select.EPOLLIN)

    def receive(self, descriptor: int) -> None:
        poll = self.polls[self.by_descriptor[descriptor]]
        try:
            data = poll.socket.recv(1 << 16)
        except (ssl.SSLWantReadError, BlockingIOError):
            return
        if not data:
            raise CommandFailed(f"The master closed the connection of {poll.computer.guid}.")
        poll.received += data
        if (body := _complete_body(poll.received)) is not None:
            poll.received = b""
            since, poll.since = poll.since, int(json.loads(body)["revision"])
            if poll.since != since:
                poll.told_at = time.perf_counter()
            self.answers += poll.is_waiting
            poll.send()


def _hold(pipe: Connection, port: int, computers: Sequence[Computer], tls: bool) -> None:
    try:
        holder = _Holder([])
        for number, computer in enumerate(computers):
            holder.polls.append(_Poll(computer, _connect(port, number, tls)))
            holder.register(number)
            holder.polls[-1].send()
            _turn(holder, 0 if number % STARTING_AT_ONCE else 0.5)
        while not all(poll.is_waiting for poll in holder.polls):
            _turn(holder, 0.1)
        pipe.send(None)
        _serve(pipe, holder)
    except (CommandFailed, OSError) as error:
        pipe.send(CommandFailed(str(error)))


def _serve(pipe: Connection, holder: _Holder) -> None:
    expected: list[_Poll] = []
    deadline = 0.0
    while True:
        _turn(holder, 0.001)
        if deadline and all(poll.told_at for poll in expected):
            pipe.send([poll.told_at for poll in expected])
            deadline = 0.0
        if deadline and time.perf_counter() > deadline:
            late = sum(not poll.told_at for poll in expected)
            raise CommandFailed(f"{late} of {len(expected)} polls were not told of a change in time.")
        if not pipe.poll():
            continue
        what, *rest = pipe.recv()
        if what == "news":
            deadline = time.perf_counter() + rest[0]
        elif what == "expect":
            expected = [holder.polls[number] for number in rest[0]]
            for poll in expected:
                poll.told_at = 0.0
            pipe.send(None)
        else:
            pipe.send(sum(poll.is_waiting for poll in holder.polls) if what == "waiting" else holder.answers)


def _turn(holder: _Holder, seconds: float) -> None:
    for descriptor, _ in holder.epoll.poll(seconds, 1024):
        holder.receive(descriptor)


def _connect(port: int, number: int, tls: bool) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    made.bind((f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", 0))
    made.connect(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(made)
    return made


def _complete_body(data: bytes) -> bytes | None:
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return None
    if b" 200 " not in head[:16]:
        raise CommandFailed(f"The master answered a poll with {data[:500]!r}.")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:") and len(body) >= int(line.split(b":")[1]):
            return body
    return None
