"""A node with Unix users and addresses of its own: partitions cannot read each other, nor make root do it for them.

Making users and addresses takes root. Whoever else runs these tests sees that it is refused, and that nothing was made.
"""

import grp
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from slap.node.core.config import NodeConfig, read
from slap.node.limits.enforcement import node_id
from slap.node.manager.firewall_context import table_of
from slap.node.partition.supervision import shut_down
from slap.system import environment
from slap.system.network.netlink import KernelNetwork
from slap.system.network.nftables import Nftables
from slap.system.process import Command, Completed, SystemRunner
from slap.system.processes import Mark, find_marked
from tests.interpreter import PYTHON
from tests.system.cloud import Cloud, as_nobody, eventually, release, set_options, short_folder
from tests.system.typed import SLAPOS

USERS = f"t{os.getpid()}u"
SOFTWARE_USER = f"t{os.getpid()}s"
NETWORK = f"10.213.{os.getpid() % 250}"

# A service, a daemon that forks twice, leaves its session and forgets its environment, a promise, and a cron job.
PROFILE = """\
[buildout]
parts = service daemon cron publish
[service]
recipe = slap:service
command-line = /bin/sh -c "touch private; exec sleep 100000"
[daemon]
recipe = slap:service
command-line = /bin/sh -c "(env -i setsid -f sleep 98765); exec sleep 100000"
[cron]
recipe = slap:cron
time = * * * * *
command-line = /bin/true
[publish]
recipe = slap:publish
answer = 42
"""


@dataclass(frozen=True)
class RootNode:
    """A master and an agent, each a process of the test, and a node whose partitions have users of their own."""

    cloud: Cloud
    config: NodeConfig

    def user(self, number: int) -> int:
        return pwd.getpwnam(f"{USERS}{number}").pw_uid

    def folder(self, number: int) -> Path:
        return self.config.partition(f"slappart{number}")

    def as_user(self, number: int, *argv: str) -> Completed:
        """A program, run as the user of a partition."""
        user = pwd.getpwnam(f"{USERS}{number}")
        env = {"PATH": environment.CLEAN_PATH}
        return SystemRunner().run(Command(argv, Path("/"), env, timeout=20, user=user.pw_uid, group=user.pw_gid))

    def processes(self, number: int) -> list[int]:
        """All processes of a partition's user, wherever they went."""
        return find_marked(Mark("NO_SUCH_MARK", ""), self.user(number))

    def number(self, name: str) -> int:
        """Which partition an instance is in."""
        return int(self.cloud.master().instances(name)[0].partition.removeprefix("slappart"))


@contextmanager
def started(cloud: Cloud, *words: str) -> Iterator[None]:
    """A command that runs until it is interrupted."""
    env = {"PATH": environment.CLEAN_PATH, "HOME": str(cloud.folder), "SLAPOS_CONFIGURATION": str(cloud.cfg)}
    with (cloud.folder / f"{words[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [*cloud.prefix, SLAPOS, *words], env=env, cwd="/", stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextmanager
def a_master(cloud: Cloud) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = (
        "--port",
        str(port),
        "--folder",
        str(cloud.folder / "master"),
        "--client-cfg",
        str(cloud.folder / "client.cfg"),
    )
    with started(cloud, "proxy", "start", *words):
        eventually(lambda: cloud.slapos("computer", "list", check=False).status == 0)
        yield


def configure(cloud: Cloud) -> NodeConfig:
    """Register, and have the node make users and addresses that nobody else has."""
    cloud.slapos("node", "register", "rooted", "--root", str(cloud.folder), "--partition-number", "2")
    users = {"alter_user": "true", "user_base_name": USERS, "software_user": SOFTWARE_USER}
    set_options(cloud.cfg, alter_network="true", ipv4_local_network=f"{NETWORK}.0/24", **users)
    return read(cloud.cfg)


@contextmanager
def a_node(more_configuration: str = "") -> Iterator[RootNode]:
    with ExitStack() as stack:
        cloud = Cloud(stack.enter_context(short_folder()))
        stack.enter_context(a_master(cloud))
        config = configure(cloud)
        stack.callback(forget, config)
        with cloud.cfg.open("a") as file:
            file.write(more_configuration)
        cloud.slapos("node", "format")
        stack.callback(shut_down, config)
        stack.enter_context(started(cloud, "node", "agent"))
        yield RootNode(cloud, config)


def forget(config: NodeConfig) -> None:
    """Take away what nothing in a node takes away."""
    Nftables(SystemRunner()).forget(table_of(config))
    for group in Path("/sys/fs/cgroup").glob(f"cpu*/slapos-{node_id(config)}/*/"):
        group.rmdir()
    for number in range(config.format.partition_amount):
        KernelNetwork().remove("lo", f"{NETWORK}.{number + 2}/32")
    for name in (SOFTWARE_USER, f"{USERS}0", f"{USERS}1"):
        SystemRunner().run(Command(("userdel", name), env={"PATH": environment.CLEAN_PATH})).check()


def test_without_root_rights_users_and_addresses_are_refused_and_nothing_is_made() -> None:
    with ExitStack() as stack:
        cloud = Cloud(stack.enter_context(short_folder()))
        stack.enter_context(a_master(cloud))
        config = configure(cloud)
        shutil.rmtree(config.instance_root)
        env = {"PATH": environment.CLEAN_PATH, "HOME": "/"}
        argv = (str(SLAPOS), "node", "format", "--cfg", str(cloud.cfg))
        refused = SystemRunner().run(Command(as_nobody(argv), Path("/"), env, timeout=60))
        assert (refused.status, "only be made by root" in refused.stderr) == (1, True), refused
        assert not config.instance_root.exists()
        assert not [entry for entry in pwd.getpwall() if entry.pw_name.startswith((USERS, SOFTWARE_USER))]


if environment.is_root():

    @pytest.fixture(scope="module")
    def node() -> Iterator[RootNode]:
        with a_node() as made:
            made.cloud.supply(release(made.cloud.folder / "release", PROFILE))
            for name in ("first", "second"):
                made.cloud.slapos("request", name, str(made.cloud.folder / "release"))
            yield made

    def test_partitions_belong_to_their_users_and_releases_to_the_software_user(node: RootNode) -> None:
        for number in range(2):
            found = node.folder(number).stat()
            assert (found.st_uid, grp.getgrgid(found.st_gid).gr_name) == (node.user(number), SOFTWARE_USER)
            assert found.st_mode & 0o7777 == 0o700
        (built,) = node.config.software_root.glob("[0-9a-f]*")
        assert built.owner() == SOFTWARE_USER
        assert (built / "instance.cfg").owner() == SOFTWARE_USER

    def test_addresses_are_there(node: RootNode) -> None:
        assert {f"{NETWORK}.2/32", f"{NETWORK}.3/32"} <= KernelNetwork().addresses("lo")

    def test_addresses_that_a_restart_of_the_machine_took_are_brought_back(node: RootNode) -> None:
        KernelNetwork().remove("lo", f"{NETWORK}.3/32")
        node.cloud.slapos("node", "boot")
        assert f"{NETWORK}.3/32" in KernelNetwork().addresses("lo")

    def _all_three(node: RootNode, number: int) -> list[int]:
        found = node.processes(number)
        return found if len(found) >= 3 else []

    def test_services_run_as_their_partitions_user_with_no_other_group_but_kvms(node: RootNode) -> None:
        for number in range(2):
            processes = eventually(partial(_all_three, node, number))
            for pid in processes:
                status = Path(f"/proc/{pid}/status").read_text()
                assert f"Uid:\t{node.user(number)}\t{node.user(number)}" in status
                groups = next(line.split()[1:] for line in status.splitlines() if line.startswith("Groups:"))
                own = pwd.getpwuid(node.user(number)).pw_gid
                assert {int(each) for each in groups} <= {
                    own,
                    *(each.gr_gid for each in grp.getgrall() if each.gr_name == "kvm"),
                }

    def test_a_partition_reads_neither_another_nor_what_the_node_keeps(node: RootNode) -> None:
        own, other = node.number("first"), node.number("second")
        root, name = node.config.root, f"slappart{other}"
        secrets = [
            node.folder(other) / "private",
            node.folder(other) / ".slapos-context.json",
            node.folder(other) / ".slapos-connection.json",
            node.config.partition_logs / name / "buildout.log",
            node.config.partition_logs / name / "service.log",
            node.config.supervisor_folder / f"{name}.conf",
            node.config.token_file,
            node.config.store_file,
            root / "client.token",
        ]
        for path in secrets:
            assert path.exists(), path
            seen = node.as_user(own, "cat", str(path))
            assert (seen.status, "Permission denied" in seen.stderr) == (1, True), path
        assert node.as_user(own, "cat", str(node.folder(own) / ".slapos-context.json")).status == 0
        assert node.as_user(own, "ls", str(node.folder(other))).status != 0
        for pid in node.processes(other):
            assert node.as_user(own, "cat", f"/proc/{pid}/environ").status != 0
            assert node.as_user(own, "kill", str(pid)).status != 0

    def test_a_partition_does_not_reach_the_computers_loopback_but_its_own_addresses_and_the_master(
        node: RootNode,
    ) -> None:
        own, other = node.number("first"), node.number("second")
        code = "import socket,sys; print(socket.socket().connect_ex((sys.argv[1], int(sys.argv[2]))))"
        master = urlsplit(node.cloud.master_url)

        def reaches(number: int, address: str, port: int) -> bool:
            argv = (PYTHON, "-I", "-c", code, address, str(port))
            return node.as_user(number, *argv).check().stdout == "0\n"

        assert json.loads((node.folder(own) / ".slapos-context.json").read_text())["firewall"] is True
        with socket.create_server(("127.0.0.1", 0)) as server:
            assert not reaches(own, *server.getsockname())
        with socket.create_server((f"{NETWORK}.{own + 2}", 0)) as server:
            assert reaches(own, *server.getsockname())
            assert reaches(other, *server.getsockname())  # published: there is no IPv6
        assert reaches(own, str(master.hostname), int(master.port or 80))

    def test_a_partition_commands_neither_supervisord_nor_the_agent(node: RootNode) -> None:
        code = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        for path in (node.config.supervisor_socket, *node.config.events.glob("*.sock")):
            assert "PermissionError" in node.as_user(0, PYTHON, "-I", "-c", code, str(path)).stderr

    def test_links_that_a_tenant_plants_lead_root_nowhere(node: RootNode) -> None:
        """Processed again and destroyed, a partition full of links to somebody else's things leaves these alone."""
        treasure = node.cloud.folder / "treasure"
        treasure.mkdir(mode=0o700)
        (treasure / "file").write_text("precious")
        first = node.cloud.master().instances("first")[0]
        folder, number = node.folder(node.number("first")), node.number("first")
        files = (".slapos-context.json", "buildout.cfg", ".installed.cfg", ".slapos-connection.json", "extra")
        plant = "; ".join(f"rm -rf {name}; ln -s {treasure}/file {name}" for name in files)
        more = f"rm -rf var tmp; ln -s {treasure} var; ln -s {treasure} tmp; mkdir -p deep/er; chmod 0 deep"
        assert node.as_user(number, "/bin/sh", "-c", f"cd {folder}; {plant}; {more}").status == 0
        node.cloud.master().bang_instance(first.guid, "again")
        log = node.config.partition_logs / first.partition / "buildout.log"
        before = log.stat().st_mtime_ns
        eventually(lambda: log.stat().st_mtime_ns != before)
        node.cloud.slapos("service", "destroy", "first")
        assert list(folder.iterdir()) == []
        assert (treasure / "file").read_text() == "precious"
        assert (treasure.stat().st_uid, treasure.stat().st_mode & 0o777, (treasure / "file").stat().st_uid) == (
            0,
            0o700,
            0,
        )

    def test_destroyed_nothing_of_it_is_left(node: RootNode) -> None:
        number = node.number("second")
        assert len(node.processes(number)) >= 3
        node.cloud.slapos("service", "destroy", "second")
        assert node.processes(number) == []
        assert list(node.folder(number).iterdir()) == []
        assert node.folder(number).stat().st_uid == node.user(number)
        rules = Nftables(SystemRunner()).chain(table_of(node.config), f"slappart{number}-out")
        assert rules == ""
        left = [entry.path for entry in os.scandir("/tmp") if _owner(entry) == node.user(number)]
        assert left == []


def _owner(entry: "os.DirEntry[str]") -> int:
    """Whose a file is; nobody's, when whoever made it has removed it meanwhile."""
    try:
        return entry.stat(follow_symlinks=False).st_uid
    except FileNotFoundError:
        return -1
