"""A computer that is a network namespace, with machines in partitions that have users of their own, and what is around it.

What a release is built from is not reached from a namespace, so the release is built before the computer moves into one:
its master is at the same loopback address of both.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from slap.client.config import write_configuration
from slap.node.core.config import read
from slap.node.partition.supervision import shut_down
from slap.system import environment
from tests.system.cloud import Cloud, eventually, set_options, short_folder
from tests.system.machines import KVM, Guests, make_key
from tests.system.namespaces import Namespace, joined
from tests.system.slapos_peer import free_port
from tests.system.test_node_as_root import started
from tests.system.tiny import tiny_image
from tests.system.two_nodes import ClusterNode, forget_users


@dataclass(frozen=True)
class Computer:
    """Commands are typed in its namespace, as in that of what is outside."""

    node: ClusterNode
    outside: Namespace
    master_port: int

    @property
    def cloud(self) -> Cloud:
        return self.node.cloud

    @property
    def inside(self) -> Namespace:
        return self.node.namespace

    def guests(self) -> Guests:
        return Guests(self.cloud, self.cloud.folder / "key")


@contextmanager
def a_computer(partitions: int, **options: str) -> Iterator[Computer]:
    """`options` are those of its slapos.cfg."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        inside, outside = stack.enter_context(joined(2))
        port = free_port()
        at_first = Cloud(folder)
        with _a_master(at_first, port, "127.0.0.1"):
            _prepare(at_first, partitions)
        cloud = Cloud(folder, inside.prefix)
        stack.enter_context(_a_master(cloud, port, "0.0.0.0"))
        base = f"t{os.getpid()}v"
        users = {"alter_user": "true", "user_base_name": f"{base}u", "software_user": f"{base}s"}
        where = {"interface_name": "eth0", "ipv6_prefix": inside.partitions_ipv6, "ipv4_local_network": "10.99.0.0/24"}
        set_options(cloud.cfg, **users, alter_network="true", **where, **options)
        config = read(cloud.cfg)
        stack.callback(forget_users, config)
        cloud.slapos("node", "format")
        stack.callback(shut_down, config)
        stack.enter_context(started(cloud, "node", "agent"))
        yield Computer(ClusterNode(inside, cloud, config), outside, port)


def _prepare(cloud: Cloud, partitions: int) -> None:
    """Have the release and the image there."""
    words = ("--root", str(cloud.folder), "--partition-number", str(partitions))
    cloud.slapos("node", "register", "computer", *words)
    cloud.slapos("node", "format")
    cloud.slapos("image", "add", str(tiny_image()), "--name", "tiny")
    cloud.slapos("supply", str(KVM), cloud.computer)
    cloud.slapos("node", "software", timeout=600)
    make_key(cloud.folder)


@contextmanager
def _a_master(cloud: Cloud, port: int, host: str) -> Iterator[None]:
    database = ("--database", f"sqlite:///{cloud.folder}/master.sqlite")
    with started(cloud, "master", "start", *database, "--host", host, "--port", str(port), "--release-folder", "/"):
        if not (cloud.folder / "client.cfg").exists():
            token = eventually(lambda: cloud.slapos("master", "user", "alice", *database, check=False).stdout.strip())
            write_configuration(cloud.folder / "client.cfg", f"http://127.0.0.1:{port}", token)
        eventually(lambda: cloud.slapos("computer", "list", check=False).status == 0)
        yield


def is_possible() -> bool:
    """Namespaces are root's."""
    return environment.is_root()
