"""A master and two nodes, each a computer with a network of its own: what a test orders is spread over both.

    with two_nodes(Wanted()) as cluster:
        cluster.master.slapos("supply", url, cluster.nodes[0].guid, "--wait")

Commands are typed at the master's computer; `cluster.inside()` is for code that speaks to the master or a service itself.
"""

import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from slap.client.config import write_configuration
from slap.node.core.config import NodeConfig, read
from slap.node.partition.supervision import shut_down
from slap.system.process import Command, SystemRunner
from tests.system.cloud import Cloud, eventually, set_options, short_folder
from tests.system.namespaces import ENV, Namespace, joined
from tests.system.test_node_as_root import started

_PORT = "5000"


@dataclass(frozen=True)
class ClusterNode:
    """A computer with a node agent."""

    namespace: Namespace
    cloud: Cloud
    config: NodeConfig

    @property
    def guid(self) -> str:
        return self.config.computer_id

    def user(self, number: int) -> int:
        """That of a partition."""
        return pwd.getpwnam(f"{self.config.format.user_base_name}{number}").pw_uid


@dataclass(frozen=True)
class Cluster:
    """The master's computer, at which commands are typed, and the nodes."""

    namespace: Namespace
    master: Cloud
    nodes: tuple[ClusterNode, ...]

    def inside(self) -> AbstractContextManager[None]:
        return self.namespace.inside()

    def supply(self, url: Path | str) -> None:
        """Have a release on all nodes."""
        for node in self.nodes:
            self.master.slapos("supply", str(url), node.guid)
        for node in self.nodes:
            self.master.slapos("supply", str(url), node.guid, "--wait", "--timeout", "600", timeout=660)


@dataclass(frozen=True)
class Wanted:
    """What nodes are like. With `users` partitions have Unix users of their own, so the partition firewall is in force.

    A `release` whose parts come from elsewhere is built before the nodes are at work, for nothing leads out of theirs.
    """

    partitions: int = 2
    users: bool = False
    release: Path | None = None


@contextmanager
def two_nodes(wanted: Wanted) -> Iterator[Cluster]:
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        own, *others = stack.enter_context(joined(3))
        master = stack.enter_context(_a_master(own, folder / "m"))
        nodes = [stack.enter_context(_a_node(own, each, master, wanted)) for each in others]
        yield Cluster(own, master, tuple(nodes))


@contextmanager
def _a_master(namespace: Namespace, folder: Path) -> Iterator[Cloud]:
    folder.mkdir()
    cloud = Cloud(folder, namespace.prefix)
    database = ("--database", f"sqlite:///{folder}/master.sqlite")
    with started(
        cloud, "master", "start", *database, "--host", namespace.ipv6, "--port", _PORT, "--release-folder", "/"
    ):
        token = eventually(lambda: cloud.slapos("master", "user", "alice", *database, check=False).stdout.strip())
        write_configuration(folder / "client.cfg", f"http://[{namespace.ipv6}]:{_PORT}", token)
        eventually(lambda: cloud.slapos("computer", "list", check=False).status == 0)
        yield cloud


@contextmanager
def _a_node(masters: Namespace, namespace: Namespace, master: Cloud, wanted: Wanted) -> Iterator[ClusterNode]:
    folder = master.folder.parent / f"n{namespace.number}"
    folder.mkdir()
    for name in ("client.cfg", "client.token"):
        shutil.copy(master.folder / name, folder / name)
    cloud = Cloud(folder, namespace.prefix)
    config = _registered(cloud, namespace, wanted)
    with ExitStack() as stack:
        stack.callback(forget_users, config)
        cloud.slapos("node", "format")
        if wanted.release:
            _build(masters, folder, config.computer_id, wanted.release)
        stack.callback(shut_down, config)
        stack.enter_context(started(cloud, "node", "agent"))
        yield ClusterNode(namespace, cloud, config)


def _build(masters: Namespace, folder: Path, guid: str, release: Path) -> None:
    """By a pass outside of the node's network, which asks the master through a door in its own."""
    Cloud(folder, masters.prefix).slapos("supply", str(release), guid)
    with masters.door(masters.ipv6, int(_PORT)) as port:
        words = ("node", "software", "--master-url", f"http://127.0.0.1:{port}")
        Cloud(folder).slapos(*words, timeout=600)


def _registered(cloud: Cloud, namespace: Namespace, wanted: Wanted) -> NodeConfig:
    where = ("--ipv6-prefix", namespace.partitions_ipv6, "--interface-name", "eth0")
    private = ("--ipv4-local-network", f"10.{98 + namespace.number}.0.0/24")
    size = ("--root", str(cloud.folder), "--partition-number", str(wanted.partitions))
    cloud.slapos("node", "register", f"node-{namespace.number}", *size, *where, *private)
    set_options(cloud.cfg, alter_network="true")
    if wanted.users:
        base = f"t{os.getpid()}n{namespace.number}"
        set_options(cloud.cfg, alter_user="true", user_base_name=f"{base}u", software_user=f"{base}s")
    return read(cloud.cfg)


def forget_users(config: NodeConfig) -> None:
    """Addresses and rules go with the namespace."""
    names = [f"{config.format.user_base_name}{number}" for number in range(config.format.partition_amount)]
    there = {entry.pw_name for entry in pwd.getpwall()} & {config.format.software_user, *names}
    for name in there if config.format.alter_user else ():
        SystemRunner().run(Command(("userdel", name), env=ENV)).check()
