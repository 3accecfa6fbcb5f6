"""A virtual machine in a partition, from its order to its end: real guests, emulated where there is nothing better."""

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from slap.system import environment
from slap.system.files import read_or
from tests.system.boot_iso import boot_iso
from tests.system.cloud import Cloud, Result, eventually, small_cloud
from tests.system.machines import KVM, Guests, attempts, make_key, partition_of, processes_of, program_of, qemu_of
from tests.system.tiny import tiny_image


@pytest.fixture(scope="module")
def guests() -> Iterator[Guests]:
    with small_cloud(4) as cloud:
        cloud.slapos("image", "add", str(tiny_image()), "--name", "tiny")
        cloud.supply(KVM)
        made = Guests(cloud, make_key(cloud.folder))
        made.order("web")
        yield made


def port_of(guests: Guests, port: int) -> tuple[str, int]:
    host, _, number = guests.connection("web")["ports"][str(port)].rpartition(":")
    return host.strip("[]"), int(number)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_who_ordered_it_gets_in(guests: Guests) -> None:
    assert guests.ssh("web", "hostname") == "web"
    said = guests.connection("web")
    assert said["acceleration"] in ("kvm", "emulation")
    assert set(said["ports"]) == {"22", "80", "443"}


def test_a_guest_reaches_nothing_of_its_computer(guests: Guests) -> None:
    """Without a firewall too: qemu's network lets nothing out. With the Internet, places like these lead to the loopback."""
    master, own = urlsplit(guests.cloud.master_url).port or 0, guests.connection("web")["ipv4"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        places = {host: (host, port) for host in ("10.0.2.2", "10.0.2.3", "10.0.2.77", "fec0::2", "127.0.0.1")}
        places |= {"master": ("10.0.2.2", master), "its own ssh": (own, 10022), "the same": ("10.0.2.2", 10022)}
        assert guests.ssh("web", attempts({**places, "itself": ("127.0.0.1", 80)})).split() == ["itself", "asked"]


def test_a_port_comes_and_goes_while_it_runs(guests: Guests) -> None:
    before = qemu_of(guests.cloud, "slappart0")
    guests.order("web", nat_rules=[80, 8080])
    address = port_of(guests, 8080)
    guests.ssh("web", "mkdir /tmp/w && echo served > /tmp/w/index.html && httpd -p 8080 -h /tmp/w")
    with urllib.request.urlopen("http://{}:{}/".format(*address), timeout=10) as page:
        assert page.read() == b"served\n"
    guests.order("web", nat_rules="80", stop_timeout=11)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)
    assert qemu_of(guests.cloud, "slappart0") == before != 0


def test_who_watches_it_may_die(guests: Guests) -> None:
    """The agent, and all that waits beside the machine."""
    cloud, machine = guests.cloud, qemu_of(guests.cloud, "slappart0")
    agent = next(each for each in cloud.processes("slapos-agent"))
    kill(agent.pid)
    others = [pid for pid in processes_of(cloud, "slappart0") if pid != machine]
    assert others
    for pid in others:
        with suppress(ProcessLookupError):  # what a service started ends with it
            kill(pid)
    eventually(lambda: [each for each in cloud.processes("slappart0") if each.name == "vm" and each.state.is_alive])
    eventually(lambda: "socat" in " ".join(program_of(pid) for pid in processes_of(cloud, "slappart0")))
    guests.order("web", nat_rules=[80])
    assert qemu_of(cloud, "slappart0") == machine
    assert guests.ssh("web", "hostname") == "web"


def test_a_machine_that_is_killed_comes_back(guests: Guests) -> None:
    machine = qemu_of(guests.cloud, "slappart0")
    guests.ssh("web", "sync")
    kill(machine)
    eventually(lambda: qemu_of(guests.cloud, "slappart0") not in (0, machine))
    guests.order("web", nat_rules=[80])
    assert guests.ssh("web", "hostname") == "web"


def test_memory_takes_a_restart_and_stop_ends_all(guests: Guests) -> None:
    machine = qemu_of(guests.cloud, "slappart0")
    changed = guests.order("web", nat_rules=[80], ram="112 MiB")
    assert "restarting for memory" in changed.stderr
    assert qemu_of(guests.cloud, "slappart0") not in (0, machine)
    guests.cloud.slapos("service", "stop", "web")
    assert processes_of(guests.cloud, "slappart0") == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(port_of(guests, 22), 5)
    guests.cloud.slapos("service", "start", "web")
    assert guests.ssh("web", "hostname") == "web"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ram": "900000 GiB"}, "cannot have"),
        ({"nat_rules": [60000]}, "55535"),
        ({"ram": "lots"}, "ram"),
        ({"image": {"url": "https://images.example/x"}}, "image"),
    ],
)
def test_what_cannot_be_is_told(guests: Guests, wrong: dict[str, object], words: str) -> None:
    done = guests.order("wrong", check=False, **wrong)
    assert done.status != 0
    assert words in done.stderr
    if guests.cloud.master().instances("wrong"):
        guests.cloud.slapos("service", "destroy", "wrong")


def test_a_port_that_is_taken_is_told(guests: Guests) -> None:
    address = next(each.ipv4[0] for each in _partitions(guests) if each.name == "slappart1")
    with socket.create_server((address, 10080)):
        done = guests.order("taken", "--timeout", "20", check=False, nat_rules=[80])
        assert done.status != 0
        assert f"Port 10080 of {address} is taken." in done.stderr
    guests.cloud.slapos("service", "destroy", "taken")


def _partitions(guests: Guests) -> list:  # type: ignore[type-arg]
    cloud = guests.cloud
    return [use.partition for use in cloud.master().computer(cloud.computer).partitions]


def test_a_guest_that_never_starts_is_told(guests: Guests) -> None:
    patience = {"boot_timeout": 5, "stop_timeout": 1}
    guests.order("blank", "--no-wait", check=False, image=None, disk_size="8 MiB", **patience)
    eventually(lambda: "The guest does not answer: " in guests.cloud.slapos("service", "info", "blank").stdout, 60, 0.5)
    guests.cloud.slapos("service", "destroy", "blank")


def test_a_machine_starts_from_a_cd(guests: Guests) -> None:
    cloud, words = guests.cloud, "This CD-ROM starts."
    path = cloud.folder / "cd.iso"
    path.write_bytes(boot_iso(words))
    cloud.slapos("image", "add", str(path), "--name", "cd")
    guests.order("cd", image=None, boot_iso="cd", wait_for_ssh=False, stop_timeout=1)
    eventually(lambda: words in cloud.slapos("service", "logs", "cd").stdout)
    cloud.slapos("service", "destroy", "cd")


if environment.is_root():

    def test_a_guest_whose_disk_finds_no_room_is_told_and_so_is_its_owner(guests: Guests) -> None:
        """A small disk is root's to make. What runs beside it goes on; with room again the machine does, too, but its file
        system may be read-only until the guest starts anew."""
        cloud = guests.cloud
        number = min(set(range(4)) - {int(each.partition[-1]) for each in cloud.master().instances()})
        with small_disk(cloud.srv / f"slappart{number}") as grow:
            guests.order("small", disk_size="1 GiB")
            assert partition_of(cloud, "small") == f"slappart{number}"
            told = guests.ssh("small", "dd if=/dev/zero of=/root/big bs=64k count=420; sync; dmesg | tail -n 3")
            assert "I/O error" in told
            said = eventually(
                lambda: "is full: " in (seen := cloud.slapos("service", "info", "small").stdout) and seen, 60, 0.5
            )
            assert "error (requested: started)" in said
            assert guests.ssh("web", "hostname") == "web"
            guests.order("web", nat_rules=[80])
            grow()
            eventually(lambda: "status     started" in cloud.slapos("service", "info", "small").stdout, 60, 0.5)
            assert guests.ssh("small", "hostname") == "small"
            cloud.slapos("service", "destroy", "small")

    @contextmanager
    def small_disk(folder: Path) -> Iterator[Callable[[], object]]:
        """One that has room for a machine that writes little, and what makes it larger."""

        def mount(*words: str) -> None:
            subprocess.run(["mount", *words, folder], check=True)

        mount("-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs")
        try:
            yield lambda: mount("-o", "remount,size=200m")
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def test_who_is_ended_while_qemu_says_what_it_can_do_ends_that_too(guests: Guests) -> None:
    cloud = guests.cloud
    shutil.rmtree(cloud.folder / "run/machines/capabilities")  # as on a computer that never ran a machine
    guests.order("hasty", "--no-wait", check=False)
    eventually(lambda: _running(f"{cloud.srv}/", "qmp.monitor"))
    (runner,) = _running("vm run", f"{cloud.srv / partition_of(cloud, 'hasty')} ")
    os.kill(runner, signal.SIGTERM)
    cloud.slapos("service", "destroy", "hasty")
    eventually(lambda: not _running(f"{cloud.srv}/", "qmp.monitor"))


def _running(*words: str) -> list[int]:
    """Processes by what is in their command lines."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _has(path, words)]


def _has(cmdline: Path, words: tuple[str, ...]) -> bool:
    with suppress(OSError):  # it ended meanwhile
        line = cmdline.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return all(word in line for word in words)
    return False


def test_nothing_is_left_of_one_that_is_destroyed(guests: Guests) -> None:
    cloud, address = guests.cloud, port_of(guests, 22)
    partition = partition_of(cloud, "web")
    cloud.slapos("service", "destroy", "web")
    assert processes_of(cloud, partition) == []
    assert list((cloud.srv / partition).iterdir()) == []
    assert read_or(cloud.folder / f"etc/supervisord.conf.d/{partition}.conf", "") == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


def test_a_cluster_is_one_order_and_one_table(guests: Guests) -> None:
    """A machine has what all have, and what is its own; one that is no longer ordered goes."""
    cloud = guests.cloud
    machine = {
        "image": "tiny",
        "ram": "96 MiB",
        "ssh-keys": [guests.public_key],
        "user-data": "#!/bin/sh\necho $((40 + 2)) > /r",
    }
    own = {"db": {"hostname": "database", "nat-rules": [5432]}}
    done = _order_cluster(cloud, {"count": 1, "machine": machine, "machines": own})
    machines = cloud.slapos("service", "info", "many", "-f", "json").json["connection"]["machines"]
    assert {name: set(each["ports"]) for name, each in machines.items()} == {
        "vm-1": {"22", "80", "443"},
        "db": {"22", "5432"},
    }
    assert "database  22, 5432" in done.stdout
    assert cloud.slapos("vm", "console", "many/db", "-f", "json").json["console-url"].startswith("https://")
    for each in machines.values():
        assert guests.run(each["ssh-command"], "hostname && cat /r") == f"{each['hostname']}\n42"
    _order_cluster(cloud, {"count": 1, "machine": machine})
    root = cloud.master().instances("many")[0].guid
    eventually(lambda: [each.reference for each in cloud.master().tree(root).instances] == ["many", "vm-1"])
    cloud.slapos("service", "destroy", "many")


def _order_cluster(cloud: Cloud, parameters: dict[str, object]) -> Result:
    words = ("--type", "kvm-cluster", "--parameters", json.dumps(parameters), "--timeout", "90")
    return cloud.slapos("request", "many", str(KVM), *words)
