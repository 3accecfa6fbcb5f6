"""Computers that are network namespaces: each has a network of its own, and a wire to a switch that joins them all.

Names are the test's own, and everything is gone afterwards. Takes root.
"""

import os
import signal
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pyroute2 import netns

from slap.system import environment
from slap.system.process import Command, Completed, SystemRunner, start_child
from tests.system.cloud import eventually
from tests.system.slapos_peer import free_port

IP = "/usr/sbin/ip"
_SOCAT = "/usr/bin/socat"
ENV = {"PATH": environment.CLEAN_PATH}


@dataclass(frozen=True)
class Namespace:
    """A network of its own. It is a Runner whose programs are in it."""

    name: str
    number: int = 0  # of those that are joined

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command line begins with that is run in it."""
        return (IP, "netns", "exec", self.name)

    @property
    def ipv4(self) -> str:
        return f"192.0.2.{self.number}"

    @property
    def ipv6(self) -> str:
        return f"2001:db8::{self.number}"

    @property
    def partitions_ipv6(self) -> str:
        """A network of its own that all the others reach: for the partitions of a node."""
        return f"2001:db8:0:{self.number}::/64"

    def run(self, command: Command) -> Completed:
        return SystemRunner().run(replace(command, argv=(*self.prefix, *command.argv)))

    def words(self, *argv: str, user: int = 0) -> Completed:
        """Run a program as some user; it has no other group."""
        rights = ("setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups") if user else ()
        return self.run(Command((*rights, *argv), Path("/"), ENV, timeout=30))

    def ip(self, *words: str) -> None:
        self.words(IP, *words).check()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The thread that is in this block is in the namespace: what it connects to is looked for there."""
        netns.pushns(self.name)
        try:
            yield
        finally:
            netns.popns()

    @contextmanager
    def background(self, *argv: str) -> Iterator[int]:
        """A program that runs while the block does; its process id."""
        child = start_child((*self.prefix, *argv), ENV, ())
        try:
            yield child.pid
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()

    @contextmanager
    def door(self, address: str, port: int) -> Iterator[int]:
        """A port of this machine's own loopback that leads to one in the namespace."""
        outside = free_port()
        way = f'EXEC:"{" ".join(self.prefix)} {_SOCAT} - TCP6:[{address}]:{port}"'
        child = start_child((_SOCAT, f"TCP4-LISTEN:{outside},bind=127.0.0.1,fork", way), ENV, ())
        try:
            eventually(lambda: _is_open(outside))
            yield outside
        finally:
            os.kill(child.pid, signal.SIGTERM)
            child.wait()


@contextmanager
def a_namespace(number: int = 0) -> Iterator[Namespace]:
    """One that has a loopback interface and nothing else."""
    made = Namespace(f"slap-{uuid.uuid4().hex[:8]}", number)
    SystemRunner().run(Command((IP, "netns", "add", made.name), env=ENV)).check()
    try:
        made.ip("link", "set", "lo", "up")
        yield made
    finally:
        SystemRunner().run(Command((IP, "netns", "del", made.name), env=ENV)).check()


@contextmanager
def joined(count: int) -> Iterator[Sequence[Namespace]]:
    """So many computers at one switch, each with an interface eth0 that has addresses of both kinds."""
    with ExitStack() as stack:
        switch = stack.enter_context(a_namespace())
        switch.ip("link", "add", "switch", "type", "bridge")
        switch.ip("link", "set", "switch", "up")
        made = [stack.enter_context(a_namespace(number)) for number in range(1, count + 1)]
        for each in made:
            _plug(switch, each)
        yield made


def _plug(switch: Namespace, computer: Namespace) -> None:
    port = f"port{computer.number}"
    switch.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", computer.name)
    switch.ip("link", "set", port, "master", "switch", "up")
    computer.ip("link", "set", "eth0", "up")
    computer.ip("address", "add", f"{computer.ipv4}/24", "dev", "eth0")
    computer.ip("address", "add", f"{computer.ipv6}/48", "dev", "eth0", "nodad")


def _is_open(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
