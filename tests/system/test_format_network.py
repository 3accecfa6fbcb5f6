"""`slapos node format` and its undoing, typed at a computer with a network of its own: users, addresses, taps, a bridge."""

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from slap.model.computer import PartitionUse
from slap.node.partition.supervision import shut_down
from slap.system import environment
from slap.system.network.netlink import KernelNetwork, Link
from slap.system.process import Command, SystemRunner
from tests.interpreter import PYTHON
from tests.system.cloud import Cloud, release, set_options, short_folder
from tests.system.namespaces import ENV, Namespace, joined
from tests.system.test_node_as_root import SOFTWARE_USER, USERS, a_master, configure, started
from tests.system.two_nodes import forget_users

# Stands for the computer's kvm, which it may not have; other nodes that are formatted meanwhile have nothing to do with it.
GROUP = f"t{os.getpid()}k"
PROFILE = "[buildout]\nparts = publish\n[publish]\nrecipe = slap:publish\nanswer = 42\n"
# Opens a tap as a virtual machine does.
_OPEN = """
import fcntl, struct, sys
with open("/dev/net/tun", "r+b", buffering=0) as tun:
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH", sys.argv[1].encode(), 0x1002))
"""

if environment.is_root():

    @contextmanager
    def a_computer() -> Iterator[tuple[Cloud, Namespace]]:
        """A master and a node that is registered, not formatted."""
        with ExitStack() as stack:
            folder = stack.enter_context(short_folder())
            (namespace,) = stack.enter_context(joined(1))
            cloud = Cloud(folder, namespace.prefix)
            stack.enter_context(a_master(cloud))
            config = configure(cloud)
            stack.enter_context(a_group())
            set_options(
                cloud.cfg,
                kvm_group=GROUP,
                create_tap="true",
                bridge_name="br7",
                interface_name="eth0",
                ipv6_prefix="2001:db8:0:1::/64",
            )
            stack.callback(forget_users, config)
            stack.callback(shut_down, config)
            yield cloud, namespace

    def users() -> set[str]:
        return {entry.pw_name for entry in pwd.getpwall() if entry.pw_name.startswith((USERS, SOFTWARE_USER))}

    @contextmanager
    def a_group() -> Iterator[None]:
        SystemRunner().run(Command(("groupadd", GROUP), env=ENV)).check()
        try:
            yield
        finally:
            SystemRunner().run(Command(("groupdel", GROUP), env=ENV)).check()

    def members() -> list[str]:
        return grp.getgrnam(GROUP).gr_mem

    def links(namespace: Namespace) -> dict[str, Link]:
        with namespace.inside():
            return dict(KernelNetwork().links())

    def may_open(namespace: Namespace, tap: str, user: int) -> bool:
        return namespace.words(PYTHON, "-I", "-c", _OPEN, tap, user=user).status == 0

    def test_what_format_makes_it_takes_away_again_and_nothing_else() -> None:
        with a_computer() as (cloud, namespace):
            before = links(namespace)
            planned = cloud.slapos("node", "format", "--dry-run").stdout
            assert (links(namespace), users()) == (before, set())
            assert cloud.slapos("node", "format").stdout == planned
            assert cloud.slapos("node", "format").stdout == ""
            made = {name: each for name, each in links(namespace).items() if name not in before}
            owners = [pwd.getpwnam(f"{USERS}{number}").pw_uid for number in range(2)]
            taps = {f"slaptap{n}": Link("tap", owner, "br7", is_up=True) for n, owner in enumerate(owners)}
            assert made == taps | {"br7": Link("bridge", is_up=True)}
            assert members() == [f"{USERS}0", f"{USERS}1"]
            os.chmod("/dev/net/tun", 0o666)  # as udev has it
            assert may_open(namespace, "slaptap0", owners[0])
            assert not may_open(namespace, "slaptap0", owners[1])
            assert [use.partition.tap for use in computer(cloud, namespace)] == ["slaptap0", "slaptap1"]
            _bring_back_what_a_restart_took(cloud, namespace)
            going = cloud.slapos("node", "format", "--undo", "--dry-run").stdout
            assert len(going.splitlines()) == len(planned.splitlines())
            assert links(namespace).keys() == made.keys() | before.keys()
            assert cloud.slapos("node", "format", "--undo").stdout == going
            assert (links(namespace), users(), list(cloud.srv.glob("slappart*"))) == (before, set(), [])
            assert members() == []
            with namespace.inside():
                assert KernelNetwork().addresses("eth0") >= {f"{namespace.ipv4}/24", f"{namespace.ipv6}/48"}
                assert not [each for each in KernelNetwork().addresses("eth0") if each.endswith(("/32", "/128"))]
            assert computer(cloud, namespace) == []
            assert cloud.slapos("node", "format", "--undo").stdout == ""
            assert cloud.slapos("node", "format").stdout == planned

    def _bring_back_what_a_restart_took(cloud: Cloud, namespace: Namespace) -> None:
        there = links(namespace)
        for name in ("slaptap1", "br7"):
            namespace.ip("link", "delete", name)
        cloud.slapos("node", "boot")
        assert links(namespace) == there

    def test_a_partition_in_use_keeps_everything_where_it_is() -> None:
        with a_computer() as (cloud, namespace):
            cloud.slapos("node", "format")
            with started(cloud, "node", "agent"):
                url = release(cloud.folder / "release", PROFILE)
                with namespace.inside():
                    guid = cloud.computer
                cloud.slapos("supply", str(url), guid, "--wait", timeout=300)
                cloud.slapos("request", "held", str(url))
                there = links(namespace)
                for extra in ((), ("--dry-run",)):
                    refused = cloud.slapos("node", "format", "--undo", *extra, check=False)
                    assert (refused.status, "holds the instance held" in refused.stderr) == (1, True), refused
                cloud.slapos("service", "destroy", "held")
                refused = cloud.slapos("node", "format", "--undo", check=False)
                assert (refused.status, "agent runs" in refused.stderr) == (1, True), refused
                assert links(namespace) == there
            cloud.slapos("node", "format", "--undo")
            assert users() == set()

    def computer(cloud: Cloud, namespace: Namespace) -> list[PartitionUse]:
        with namespace.inside():
            return list(cloud.master().computer(cloud.computer).partitions)

    @pytest.fixture(autouse=True)
    def device() -> Iterator[None]:
        mode = os.stat("/dev/net/tun").st_mode & 0o777
        yield
        os.chmod("/dev/net/tun", mode)
