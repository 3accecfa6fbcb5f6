"""A machine whose partition has a Unix user and an IPv6 address of its own, as on a computer with the system's layout."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from slap.node.config import read
from slap.node.partition.supervision import shut_down
from slap.system import environment
from slap.system.netlink import KernelNetwork
from tests.system.cloud import Cloud, eventually, set_options, short_folder
from tests.system.machines import KVM, Guests, make_key, processes_of, program_of, qemu_of
from tests.system.test_node_as_root import RootNode, a_master, configure, forget, started
from tests.system.tiny import tiny_image

PREFIX = f"fd77:{os.getpid() % 65536:x}::"


@contextmanager
def a_node_with_ipv6() -> Iterator[RootNode]:
    with ExitStack() as stack:
        cloud = Cloud(stack.enter_context(short_folder()))
        stack.enter_context(a_master(cloud))
        config = configure(cloud)
        set_options(cloud.cfg, ipv6_prefix=f"{PREFIX}/64")
        config = read(cloud.cfg)
        stack.callback(forget, config)
        for number in range(config.format.partition_amount):
            stack.callback(KernelNetwork().remove, "lo", f"{PREFIX}{number + 2}/128")
        cloud.slapos("node", "format")
        stack.callback(shut_down, config)
        stack.enter_context(started(cloud, "node", "agent"))
        yield RootNode(cloud, config)


if environment.is_root():

    def test_a_machine_is_its_users_and_is_reached_by_ipv6() -> None:
        with a_node_with_ipv6() as node:
            node.cloud.slapos("image", "add", str(tiny_image()), "--name", "tiny")
            node.cloud.supply(KVM)
            guests = Guests(node.cloud, make_key(node.cloud.folder))
            guests.order("web", nat_rules=[80])
            assert guests.connection("web")["ssh-command"] == f"ssh -p 10022 root@{PREFIX}2"
            assert guests.ssh("web", "hostname") == "web"
            machine = qemu_of(node.cloud, "slappart0")
            assert Path(f"/proc/{machine}").stat().st_uid == node.user(0)
            forwarders = _forwarders(node)
            assert len(forwarders) == 2
            for pid in forwarders:
                os.kill(pid, signal.SIGKILL)
            eventually(lambda: len(set(_forwarders(node)) - set(forwarders)) == 2)
            assert guests.ssh("web", "hostname") == "web"
            assert qemu_of(node.cloud, "slappart0") == machine
            node.cloud.slapos("service", "destroy", "web")
            assert node.processes(0) == []


def _forwarders(node: RootNode) -> list[int]:
    """The processes that listen at the ports of the machine, without those that serve a connection."""
    found = [pid for pid in processes_of(node.cloud, "slappart0") if program_of(pid).endswith("/socat")]
    return [pid for pid in found if "LISTEN" in Path(f"/proc/{pid}/cmdline").read_text() and _is_first(pid, found)]


def _is_first(pid: int, all_of_them: list[int]) -> bool:
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return parent not in all_of_them
