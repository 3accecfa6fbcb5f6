"""Forwarders of a partition by slap:socat: real processes, looked through from end to end."""

import os
import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest

from slap.system import environment
from tests.system.cloud import Cloud, eventually, release
from tests.system.test_node_managers import free_port, reaches, said_of

PROFILE = """\
[buildout]
parts = web forward publish
[conf]
recipe = slap:slapconfiguration
default.ports =
default.web = 0
[web]
recipe = slap:service
command-line = /usr/bin/python3 -m http.server ${conf:parameter.web} --bind 127.0.0.1
[forward]
recipe = slap:socat
socat = %(socat)s
ports = ${conf:parameter.ports}
target = 127.0.0.1
frequency = 1
[publish]
recipe = slap:publish
address = ${conf:address}
"""


@pytest.fixture(scope="module")
def url(cloud: Cloud) -> Path:
    text = PROFILE % {"socat": environment.program("socat")}
    found = release(cloud.folder / "forwarding", text)
    cloud.supply(found)
    return found


def order(cloud: Cloud, url: Path, name: str, web: int, ports: str, *options: str) -> None:
    cloud.slapos("request", name, str(url), "--parameters", f"web={web}", f"ports={ports}", *options, check=False)


def pids(cloud: Cloud, partition: str) -> dict[str, int]:
    return {each.name: each.pid for each in cloud.processes(partition)}


def test_forwarders_come_go_and_die_and_the_others_do_not_notice(cloud: Cloud, url: Path) -> None:
    web, first, second = free_port(), free_port(), free_port()
    order(cloud, url, "first", web, f"{first}:{web}")
    found = cloud.master().instances("first")[0]
    address, partition = str(found.connection["address"]), found.partition
    assert reaches(address, first)
    before = pids(cloud, partition)
    order(cloud, url, "first", web, f"{first}:{web} {second}:{web}")
    assert reaches(address, second)
    assert before.items() <= pids(cloud, partition).items()
    os.kill(before[f"forward-{first}"], signal.SIGKILL)
    eventually(lambda: pids(cloud, partition)[f"forward-{first}"] not in (0, before[f"forward-{first}"]))
    eventually(lambda: reaches(address, first))
    after = pids(cloud, partition)
    order(cloud, url, "first", web, f"{second}:{web}")
    assert pids(cloud, partition) == {name: pid for name, pid in after.items() if name != f"forward-{first}"}
    assert not reaches(address, first)
    cloud.slapos("service", "destroy", "first")
    assert not reaches(address, second)


def test_a_forwarder_with_nothing_behind_is_not_healthy_and_says_so(cloud: Cloud, url: Path) -> None:
    web, nothing, port = free_port(), free_port(), free_port()
    order(cloud, url, "hollow", web, f"{port}:{nothing}", "--no-wait")
    words = f"port {port} is forwarded, but nothing answers at 127.0.0.1:{nothing}"
    eventually(lambda: words in cloud.slapos("service", "info", "hollow").stdout)
    cloud.slapos("service", "destroy", "hollow")


def test_a_port_that_is_taken_is_refused_with_its_number_and_the_forwarders_stay(cloud: Cloud, url: Path) -> None:
    web, port = free_port(), free_port()
    order(cloud, url, "second", web, f"{port}:{web}")
    found = cloud.master().instances("second")[0]
    before, address = pids(cloud, found.partition), str(found.connection["address"])
    with closing(socket.create_server((address, 0))) as taken:
        other = taken.getsockname()[1]
        order(cloud, url, "second", web, f"{port}:{web} {other}", "--no-wait")
        words = f"asks for port {other} (tcp) of {address}, which is taken"
        assert words in eventually(lambda: said_of(cloud, "second"))
        assert (pids(cloud, found.partition), reaches(address, port)) == (before, True)
    cloud.slapos("service", "destroy", "second")
