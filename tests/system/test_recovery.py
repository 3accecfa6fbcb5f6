"""A standalone cloud comes back by itself whatever of it is killed, and says what does not run."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from slap.model.errors import SlapError
from slap.model.state import Status
from tests.system.chaos import Processes
from tests.system.cloud import SERVICE, Cloud, eventually, release, small_cloud

PORT = """\
[buildout]
parts = service promise
[port]
recipe = slap:free-port
[service]
recipe = slap:service
command = /usr/bin/socat
arguments =
  TCP-LISTEN:${port:port},bind=${port:address},fork,reuseaddr
  SYSTEM:true
[promise]
recipe = slap:check-port
address = ${port:address}
port = ${port:port}
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with small_cloud(2) as cloud:
        cloud.supply(release(cloud.folder / "plain", SERVICE))
        cloud.slapos("request", "plain", str(cloud.folder / "plain"))
        yield cloud


def pid_of(cloud: Cloud, reference: str) -> int:
    (process,) = cloud.processes(cloud.master().instances(reference)[0].partition)
    return process.pid


def up(cloud: Cloud) -> str:
    return cloud.slapos("standalone", "up", "--folder", str(cloud.folder), "--no-example").stderr


@pytest.mark.parametrize("victims", [("agent",), ("supervisord",), ("supervisord", "agent")])
def test_what_is_killed_comes_back_by_itself(cloud: Cloud, victims: tuple[str, ...]) -> None:
    processes = Processes(cloud.folder)
    killed = {name: getattr(processes, name)() for name in victims}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)

    def is_well() -> bool:
        try:
            back = all(getattr(processes, name)() not in (0, pid) for name, pid in killed.items())
            return back and cloud.master().instances("plain")[0].status is Status.STARTED and pid_of(cloud, "plain") > 0
        except (SlapError, ValueError):
            return False

    eventually(is_well, 60)
    eventually(lambda: processes.strays() == [], 30)


def test_up_starts_what_does_not_run_and_says_so(cloud: Cloud) -> None:
    assert "was up already" in up(cloud)
    cloud.slapos("node", "stop", "slapos-agent")
    said = up(cloud)
    assert "was up already" not in said and "is up" in said
    eventually(lambda: Processes(cloud.folder).agent() > 0, 20)


def test_a_suspended_service_is_an_error_although_its_port_accepts_connections(cloud: Cloud) -> None:
    url = release(cloud.folder / "port", PORT)
    cloud.supply(url)
    cloud.slapos("request", "port", str(url))
    pid = pid_of(cloud, "port")
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: "is suspended" in cloud.master().instances("port")[0].message, 30)
    os.kill(pid, signal.SIGCONT)
    eventually(lambda: cloud.master().instances("port")[0].status is Status.STARTED, 30)
    assert pid_of(cloud, "port") == pid


def test_the_watchdog_takes_little_memory(cloud: Cloud) -> None:
    (pid,) = [each.pid for each in cloud.processes("slapos-watchdog")]
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    assert sum(int(line.split()[1]) for line in rollup if line.startswith("Private_Dirty")) < 8 << 10
