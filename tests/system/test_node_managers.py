"""What managers do for partitions, with real processes, sockets, users and rules."""

import json
import os
import pwd
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from slap.model.computer import Partition
from slap.model.errors import CommandFailed
from slap.node.core.accounts import Account
from slap.node.core.config import NodeConfig, default_root
from slap.node.manager.base import Tools
from slap.node.manager.cpuset import Cpuset
from slap.node.manager.whitelistfirewall import WhitelistFirewall
from slap.node.partition.folder import PartitionFolder
from slap.system import environment
from slap.system.clock import SystemClock
from slap.system.host.cpusets import FirstVersion, find_cpusets
from slap.system.process import SystemRunner, start_child
from slap.system.supervisor import FakeSupervisor
from tests.interpreter import PYTHON
from tests.system.cloud import Cloud, eventually, release, small_cloud
from tests.system.namespaces import Namespace, a_namespace
from tests.system.test_node_as_root import a_node

PROFILE = """\
[buildout]
parts = {parts} service publish
[prerm]
recipe = slap:template
output = ${{buildout:directory}}/etc/prerm/backup
mode = 700
inline =
    #!/bin/sh
    echo $$ >> {folder}/begun
    while ! test -e {folder}/go; do sleep 0.1; done
    cat ${{buildout:directory}}/data > {folder}/saved
    exit {status}
[data]
recipe = slap:template
output = ${{buildout:directory}}/data
inline = precious
[redirect]
recipe = slap:template
output = ${{buildout:directory}}/.slapos-port-redirect
inline = [{{"srcPort": {source}, "srcAddress": "127.0.0.1", "destPort": {target}, "destAddress": "127.0.0.1"}}]
[service]
recipe = slap:service
command-line = {python} -m http.server {target} --bind 127.0.0.1
[publish]
recipe = slap:publish
answer = 42
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with small_cloud(2) as made:
        made.slapos("standalone", "down", "--folder", str(made.folder))
        text = made.cfg.read_text().replace("[slapos]\n", "[slapos]\nmanager_list = prerm, portredir\n")
        made.cfg.write_text(text.replace("prerm_timeout = 3600.0", "prerm_timeout = 6"))
        made.up(2)
        yield made


def order(cloud: Cloud, name: str, parts: str, status: int = 0, ports: tuple[int, int] = (0, 0)) -> Path:
    """Have an instance of a release with some parts; returns the folder that its script writes to."""
    folder = cloud.folder / name
    source, target = ports if ports[1] else (1, free_port())
    cloud.supply(
        release(
            folder,
            PROFILE.format(parts=parts, folder=folder, status=status, source=source, target=target, python=PYTHON),
        )
    )
    cloud.slapos("request", name, str(folder), check=False)
    return folder


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


def agent_pid(cloud: Cloud) -> int:
    return next(each.pid for each in cloud.processes("slapos-agent"))


def is_another(cloud: Cloud, agent: int) -> bool:
    return agent_pid(cloud) not in (0, agent)


def is_empty(group: Path) -> bool:
    """Whether no process is in a control group."""
    return not (group / "cgroup.procs").read_text()


def test_removal_waits_for_its_scripts_and_a_killed_agent_takes_it_up_again(cloud: Cloud) -> None:
    folder = order(cloud, "saving", "prerm data")
    cloud.slapos("service", "destroy", "saving", "--no-wait", check=False)
    (script,) = eventually(lambda: cloud.processes("slappart0-prerm"))
    eventually(lambda: "pre-removal script backup" in cloud.slapos("service", "info", "saving").stdout)
    assert not cloud.processes("slappart0")
    for _ in range(2):
        agent = agent_pid(cloud)
        os.kill(agent, signal.SIGKILL)
        eventually(partial(is_another, cloud, agent))
    (folder / "go").touch()
    eventually(lambda: not (cloud.srv / "slappart0/data").exists())
    eventually(lambda: not cloud.processes("slappart0-prerm"))
    assert ((folder / "saved").read_text(), (folder / "begun").read_text()) == ("precious\n", f"{script.pid}\n")
    eventually(lambda: "saving" not in cloud.slapos("service", "list").stdout)
    assert list((cloud.srv / "slappart0").iterdir()) == []


def test_a_script_that_does_not_end_is_ended_and_told_of(cloud: Cloud) -> None:
    folder = order(cloud, "hanging", "prerm data")
    started = time.monotonic()
    cloud.slapos("service", "destroy", "hanging")
    assert time.monotonic() - started > 5
    assert not (folder / "saved").exists()
    log = (cloud.folder / "log/slapos-node-instance.log").read_text()
    assert "Pre-removal script backup did not end within 6 s and was killed." in log
    assert not cloud.processes("slappart0-prerm")


def test_a_port_is_redirected_until_the_partition_stops(cloud: Cloud) -> None:
    source, target = free_port(), free_port()
    order(cloud, "redirected", "redirect", ports=(source, target))
    assert eventually(lambda: reaches("127.0.0.1", source))
    assert cloud.processes("slappart0-socat")
    cloud.slapos("service", "stop", "redirected")
    assert not cloud.processes("slappart0-socat")
    assert not reaches("127.0.0.1", source)
    cloud.slapos("service", "start", "redirected")
    eventually(lambda: reaches("127.0.0.1", source))
    cloud.slapos("service", "destroy", "redirected")
    assert not reaches("127.0.0.1", source)


def test_a_redirection_to_a_port_that_is_taken_is_told_and_the_service_runs(cloud: Cloud) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        ports = (taken.getsockname()[1], free_port())
        order(cloud, "clashing", "redirect", ports=ports)
        info = eventually(lambda: (text := said_of(cloud, "clashing")) and "Address already in use" in text and text)
        assert f"socat-tcp-{ports[0]} does not run" in info
        eventually(lambda: reaches("127.0.0.1", ports[1]))
    cloud.slapos("service", "destroy", "clashing")


def said_of(cloud: Cloud, name: str) -> str:
    """The message of an instance in error."""
    found = cloud.master().instances(name)[0]
    return found.message if found.reported == "error" else ""


def reaches(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 2) as channel:
            channel.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(channel.recv(10))
    except OSError:
        return False


def a_partition(root: Path, account: Account) -> PartitionFolder:
    config = NodeConfig(**default_root(root), manager_list="", power_user_list=account.name)
    config.make_folders()
    folder = PartitionFolder(config, Partition(name="slappart0"), account)
    folder.path.mkdir()
    return folder


@contextmanager
def with_addresses() -> Iterator[Namespace]:
    """A network of its own, with three addresses."""
    with a_namespace() as inside:
        for address in ("10.99.0.1/32", "10.99.0.2/32", "2001:db8::1/128"):
            inside.ip("address", "add", address, "dev", "lo", "nodad" if ":" in address else "noprefixroute")
        yield inside


_CONNECT = """
import socket, sys
with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_STREAM) as caller:
    caller.settimeout(10)
    sys.exit(caller.connect_ex((sys.argv[1], int(sys.argv[2]))) != 0)
"""


if environment.is_root():
    NOBODY = pwd.getpwnam("nobody")
    NOBODYS = Account("nobody", NOBODY.pw_uid, NOBODY.pw_gid, NOBODY.pw_gid)

    @contextmanager
    def listening(inside: Namespace) -> Iterator[int]:
        """A server on all addresses of the namespace; its port."""
        with inside.background(PYTHON, "-m", "http.server", "--bind", "::", "8000"):
            eventually(lambda: can_reach(inside, "10.99.0.1", 0))
            yield 8000

    def can_reach(inside: Namespace, address: str, user: int) -> bool:
        argv = (PYTHON, "-I", "-c", _CONNECT, address, "8000")
        return inside.words(*argv, user=user).status == 0

    def test_a_partition_reaches_what_its_whitelist_names_and_nobody_else_notices(tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        folder = a_partition(tmp_path / "node", NOBODYS)
        wish = folder.path / WhitelistFirewall.request_file

        def ask(inside: Namespace, *addresses: str) -> set[str]:
            wish.write_text(json.dumps(addresses))
            NOBODYS.chown(wish)
            WhitelistFirewall(Tools(folder.config, FakeSupervisor(), inside, SystemClock())).configured(folder)
            return reached(inside, NOBODY.pw_uid)

        def reached(inside: Namespace, user: int) -> set[str]:
            return {each for each in ("10.99.0.1", "10.99.0.2", "2001:db8::1") if can_reach(inside, each, user)}

        with with_addresses() as inside, listening(inside):
            everything = {"10.99.0.1", "10.99.0.2", "2001:db8::1"}
            assert reached(inside, NOBODY.pw_uid) == everything
            assert ask(inside, "10.99.0.1") == {"10.99.0.1", "2001:db8::1"}
            assert reached(inside, 0) == reached(inside, 12345) == everything
            assert ask(inside, "10.99.0.2") == {"10.99.0.2", "2001:db8::1"}
            assert ask(inside) == {"2001:db8::1"}
            assert ask(inside, "10.99.0.1", "2001:db8::2") == {"10.99.0.1"}
            inside.words("nft", "flush", "ruleset").check()
            assert ask(inside, "10.99.0.1") == {"10.99.0.1", "2001:db8::1"}
            manager = WhitelistFirewall(Tools(folder.config, FakeSupervisor(), inside, SystemClock()))
            wish.unlink()
            for _ in range(2):
                manager.emptied(folder)
                assert reached(inside, NOBODY.pw_uid) == everything
            assert "slappart0" not in inside.words("nft", "list", "ruleset").check().stdout

    def test_scripts_run_as_the_user_of_their_partition() -> None:
        with a_node() as node:
            made = node.cloud.folder / "made"
            made.mkdir()
            made.chmod(0o777)
            (made / "go").touch()
            text = PROFILE.format(
                parts="prerm data", folder=made, status=0, source=1, target=free_port(), python="python3"
            )
            node.cloud.supply(release(node.cloud.folder / "release", text))
            node.cloud.slapos("request", "saving", str(node.cloud.folder / "release"), check=False)
            user = node.user(node.number("saving"))
            node.cloud.slapos("service", "destroy", "saving")
            assert ((made / "saved").stat().st_uid, (made / "begun").stat().st_uid) == (user, user)

    def test_a_process_gets_a_processor_of_its_own_where_the_kernel_has_them(tmp_path: Path) -> None:
        """In a group of this test's own; the rest of the machine keeps its processors."""
        root = Path("/sys/fs/cgroup/cpuset") / f"slap-{uuid.uuid4().hex[:8]}"
        if not (root.parent / "cpuset.cpus").exists():
            with pytest.raises(CommandFailed, match="no processors"):
                find_cpusets(tmp_path)
            return
        root.mkdir()
        as_nobody = ("/usr/bin/setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
        sleeper = start_child((*as_nobody, "/bin/sleep", "1000"), {}, ())
        try:
            for name in ("cpuset.cpus", "cpuset.mems"):
                (root / name).write_text((root.parent / name).read_text())
            (root / "cgroup.procs").write_text(str(sleeper.pid))
            sets = FirstVersion(root)
            folder = a_partition(tmp_path / "node", NOBODYS)
            wish = folder.path / Cpuset.request_file
            wish.write_text(f"1\n{sleeper.pid}\n")  # the first is somebody else's
            NOBODYS.chown(wish)
            eventually(lambda: Path(f"/proc/{sleeper.pid}").stat().st_uid == NOBODY.pw_uid)
            Cpuset(Tools(folder.config, FakeSupervisor(), SystemRunner(), SystemClock()), sets).configured(folder)
            given = {cpu for cpu, pids in sets.taken().items() if sleeper.pid in pids}
            assert given == set(sets.cpus()[1:2])
            assert not given or os.sched_getaffinity(sleeper.pid) == given
        finally:
            os.kill(sleeper.pid, signal.SIGKILL)
            sleeper.wait()
            for group in (*root.glob("cpu[0-9]*"), root):
                eventually(partial(is_empty, group))
                group.rmdir()
