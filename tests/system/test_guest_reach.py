"""What a guest reaches, and who reaches a guest, where the partition firewall is in force: asked of real machines.

Who reaches what is written down in docs/explanation/who-reaches-what.md, with the same tables.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from slap.system.processes import Mark, find_marked
from tests.interpreter import PYTHON
from tests.system.cloud import Cloud, eventually
from tests.system.machines import KVM, attempts, processes_of, program_of, qemu_of
from tests.system.one_computer import Computer, a_computer, is_possible
from tests.system.test_firewall import _CONNECT, listening
from tests.system.test_vm_life import in_browser, is_connected

SERVICE, EVERYWHERE = 8000, 2222  # of the computer: at one address each, and on all of them
BRIDGE, TAPPED = "203.0.113.1", "203.0.113.2"
LOOPBACK, ALIAS, RESOLVER = "10.0.2.2", "10.0.2.77", "10.0.2.3"  # in qemu's network: what leads to the computer's
CLOSED, OPEN, VAULT = "2001:db8:0:1::2", "2001:db8:0:1::3", "2001:db8:0:1::4"

# What, its address as a guest says it, the port, and which guests reach it.
FROM_A_GUEST: list[tuple[str, str, int | str, str]] = [
    ("loopback of the computer", LOOPBACK, SERVICE, ""),
    ("the same by another address", ALIAS, SERVICE, ""),
    ("the same by IPv6", "fec0::2", SERVICE, ""),
    ("what listens everywhere", LOOPBACK, EVERYWHERE, ""),
    ("resolver, another port", RESOLVER, SERVICE, ""),
    ("master at loopback", LOOPBACK, "master", ""),
    ("master at the computer", "192.0.2.1", "master", ""),
    ("master at the bridge", BRIDGE, "master", ""),
    ("computer", "192.0.2.1", SERVICE, ""),
    ("computer by IPv6", "2001:db8::1", SERVICE, ""),
    ("computer at the bridge", BRIDGE, EVERYWHERE, ""),
    ("private address of a partition", "10.99.0.4", SERVICE, ""),
    ("private port of a machine", "10.99.0.2", 10022, ""),
    ("private port of its own", "10.99.0.3", 10022, "open"),
    ("public address of a partition", VAULT, SERVICE, "tapped"),
    ("what listens everywhere, at a partition's address", VAULT, EVERYWHERE, ""),
    ("master, at a partition's address", VAULT, "master", ""),
    ("published port of a machine", CLOSED, 10022, "tapped"),
    ("outside", "192.0.2.2", SERVICE, "open"),
    ("outside by IPv6", "2001:db8::2", SERVICE, ""),
]
# Whether the user of another partition gets there.
FROM_A_NEIGHBOUR = [
    ("ssh, privately", "10.99.0.2", 10022, False),
    ("a forwarded port, privately", "10.99.0.2", 10080, False),
    ("ssh, as published", CLOSED, 10022, True),
    ("a forwarded port, as published", CLOSED, 10080, True),
    ("a port that nobody ordered", CLOSED, 10081, False),
]
OF_A_TAP = f"""#!/bin/sh
ip link set eth0 up
ip addr add {TAPPED}/24 dev eth0
ip -6 addr add 2001:db8:7::2/64 dev eth0
ip route add default via {BRIDGE}
ip -6 route add default via 2001:db8:7::1
"""
# Writes down what arrives at port 53 of each address.
_HEAR = """
import select, socket, sys
heard = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in sys.argv[2:]]
for each, address in zip(heard, sys.argv[2:]): each.bind((address, 53))
with open(sys.argv[1], "w") as log:
    while True:
        for each in select.select(heard, [], [])[0]:
            print(each.recv(512), file=log, flush=True)
"""
# Prints which of the files can be looked at or opened.
_OPEN = """
import os, sys
for path in sys.argv[1:]:
    try:
        open(path, "rb")
        print(path)
    except PermissionError:
        pass
"""

if is_possible():

    @pytest.fixture(scope="module")
    def computer() -> Iterator[Computer]:
        mode = os.stat("/dev/net/tun").st_mode & 0o777
        with ExitStack() as stack:
            made = stack.enter_context(a_computer(5, create_tap="true", bridge_name="br7"))
            os.chmod("/dev/net/tun", 0o666)  # as udev has it
            stack.callback(os.chmod, "/dev/net/tun", mode)
            for address in (f"{BRIDGE}/24", "2001:db8:7::1/64"):
                made.inside.ip("address", "add", address, "dev", "br7")
            _order(made)
            _listen(made, stack)
            yield made

    def _order(computer: Computer) -> None:
        """One after the other, so that each has the partition of its number."""
        guests, waits_not = computer.guests(), ("--no-wait",)
        guests.order("closed", *waits_not, check=False)
        guests.order("open", *waits_not, check=False, internet=True)
        computer.cloud.slapos("request", "vault", str(KVM), "--type", "vault", *waits_not, check=False)
        guests.order("tapped", *waits_not, check=False, use_tap=True, user_data=OF_A_TAP)
        for name in ("closed", "open", "tapped"):
            eventually(partial(_is_up, computer, name), 180, 1)
        eventually(lambda: _status(computer, "vault") == "started", 60, 0.5)

    def _is_up(computer: Computer, name: str) -> bool:
        return _says(computer, name, "hostname") == name

    def _listen(computer: Computer, stack: ExitStack) -> None:
        folder = computer.cloud.folder
        own = ["127.0.0.1", "::1", computer.inside.ipv4, computer.inside.ipv6, "10.99.0.4", VAULT]
        everywhere = (("0.0.0.0", EVERYWHERE), ("::", EVERYWHERE))
        listening(stack, computer.inside, folder / "l1", *((each, SERVICE) for each in own), *everywhere)
        listening(stack, computer.outside, folder / "l2", ("0.0.0.0", SERVICE), ("::", SERVICE))

    def _status(computer: Computer, name: str) -> str:
        return str(computer.cloud.slapos("service", "info", name, "-f", "json").json["status"])

    def _says(computer: Computer, name: str, command: str) -> str:
        """Empty while it cannot be asked."""
        if name == "tapped":
            where, ssh = computer.inside.prefix, f"ssh root@{TAPPED}"
        else:
            where, ssh = computer.outside.prefix, f"ssh -p 10022 root@{CLOSED if name == 'closed' else OPEN}"
        try:
            return computer.guests().run(ssh, command, where)
        except (AssertionError, subprocess.TimeoutExpired):
            return ""

    def reached_by(computer: Computer, name: str) -> set[str]:
        places = {
            what: (host, computer.master_port if port == "master" else int(port))
            for what, host, port, _ in FROM_A_GUEST
        }
        return set(eventually(lambda: _asked(computer, name, places), 120, 1)) - {"asked"}

    def _asked(computer: Computer, name: str, places: dict[str, tuple[str, int]]) -> list[str]:
        """Nothing, when a busy computer had its guest answer too late to be heard: then it is asked again."""
        said = _says(computer, name, attempts(places)).splitlines()
        return said if said[-1:] == ["asked"] else []

    @pytest.mark.parametrize("name", ["closed", "open", "tapped"])
    def test_a_guest_reaches_what_the_table_says(computer: Computer, name: str) -> None:
        assert reached_by(computer, name) == {what for what, _, _, who in FROM_A_GUEST if name in who.split()}

    @pytest.mark.parametrize(("name", "expected"), [("closed", set()), ("open", {"outside"}), ("tapped", set())])
    def test_nor_by_datagrams(computer: Computer, name: str, expected: set[str]) -> None:
        places = {"gateway": LOOPBACK, "alias": ALIAS, "computer": "192.0.2.1", "bridge": BRIDGE}
        places |= {"private": "10.99.0.4", "outside": "192.0.2.2"}
        inside = ("127.0.0.1", "192.0.2.1", "10.99.0.4", BRIDGE)
        logs = [computer.cloud.folder / f"{name}-{number}.log" for number in range(2)]
        with (
            computer.inside.background(PYTHON, "-I", "-c", _HEAR, str(logs[0]), *inside),
            computer.outside.background(PYTHON, "-I", "-c", _HEAR, str(logs[1]), "192.0.2.2"),
        ):
            eventually(lambda: all(log.exists() for log in logs))
            tries = [
                f"timeout 3 nslookup to-{what}.test {address} >/dev/null 2>&1 &" for what, address in places.items()
            ]
            assert _says(computer, name, f"{' '.join(tries)} wait; echo asked") == "asked"
            heard = "".join(log.read_text() for log in logs)
        assert set(re.findall(r"to-(\w+)", heard)) == expected

    def test_another_partition_reaches_what_is_published_of_a_machine(computer: Computer) -> None:
        console = json.loads(computer.cloud.slapos("vm", "console", "closed", "-f", "json").stdout)["console-url"]
        port = int(re.findall(r":(\d+)/", console)[0])
        places = [*FROM_A_NEIGHBOUR, ("its screen, which asks for a password", CLOSED, port, True)]
        words = [str(word) for _, host, port, _ in places for word in (host, port)]
        answer = computer.inside.words(PYTHON, "-I", "-c", _CONNECT, *words, user=computer.node.user(2)).check()
        assert dict(zip((each[0] for each in places), json.loads(answer.stdout), strict=True)) == {
            what: expected for what, _, _, expected in places
        }

    def test_another_partition_has_nothing_of_a_machine_in_its_hands(computer: Computer) -> None:
        """Its monitor, screen and console, its disks, its seed, what it says, its memory."""
        node, machine = computer.node, qemu_of(computer.cloud, "slappart0")
        own = node.config.partition("slappart0")
        paths = [
            *(path for path in own.rglob("*") if not path.is_dir()),
            *node.config.partition_logs.rglob("slappart0/*"),
        ]
        paths += [Path(f"/proc/{machine}/{name}") for name in ("environ", "mem", "maps", "fd/0")]
        kinds = {path.suffix for path in paths}
        assert {".sock", ".qcow2", ".iso", ".json", ".log"} <= kinds
        assert len([path for path in paths if path.is_socket()]) == 3
        seen = computer.inside.words(PYTHON, "-I", "-c", _OPEN, *map(str, paths), user=node.user(2)).check()
        assert seen.stdout == ""

    def test_a_tenant_keeps_a_machine_in_the_vault_of_another_partition_and_gets_it_back(computer: Computer) -> None:
        cloud = computer.cloud
        assert _says(computer, "closed", "echo 1 > /root/kept; sync; echo done") == "done"
        cloud.slapos("vm", "backup", "closed", "--vault", "vault")
        assert _says(computer, "closed", "rm /root/kept; sync; echo done") == "done"
        cloud.slapos("vm", "restore", "closed", "--backup", "latest", "--no-wait", check=False)
        assert eventually(lambda: _says(computer, "closed", "ls /root"), 120, 1) == "kept"

    def test_the_node_fetches_nothing_for_a_tenant_that_the_tenant_does_not_reach(computer: Computer) -> None:
        """An order can name a URL, and the node is root. It would say how what came differs from what was expected."""
        for url in (
            "http://127.0.0.1:8000/x",
            f"http://{computer.inside.ipv4}:{computer.master_port}/api/v1/computers",
        ):
            image = {"url": url, "sha512": "0" * 128}
            computer.guests().order("greedy", "--no-wait", check=False, image=image)
            host = url.split("/")[2].partition(":")[0]
            eventually(partial(_is_refused, computer, host), 60, 0.5)
        computer.cloud.slapos("service", "destroy", "greedy")

    def _is_refused(computer: Computer, host: str) -> bool:
        return f"Nothing is fetched from {host}." in _message(computer, "greedy")

    def _message(computer: Computer, name: str) -> str:
        return str(computer.cloud.slapos("service", "info", name, "-f", "json").json["message"])

    def test_a_tenants_screen_is_seen_in_a_browser(computer: Computer, tmp_path: Path) -> None:
        seen = computer.cloud.slapos("vm", "console", "closed", "-f", "json").json
        url = seen["console-url"].replace("https://", f"https://{seen['console-user']}:{seen['console-password']}@")
        eventually(lambda: is_connected(in_browser(url, tmp_path, computer.outside.prefix)), 90)

    def test_a_machine_is_its_users_and_what_forwards_its_ports_comes_back(computer: Computer) -> None:
        cloud, user, machine = computer.cloud, computer.node.user(0), qemu_of(computer.cloud, "slappart0")
        assert computer.guests().connection("closed")["ssh-command"] == f"ssh -p 10022 root@{CLOSED}"
        assert computer.guests().connection("tapped")["ssh-command"] == ""  # told, for a cluster waits for it
        assert Path(f"/proc/{machine}").stat().st_uid == user
        former = forwarders(cloud)
        assert len(former) == 3
        for pid in former:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(set(forwarders(cloud)) - set(former)) == 3)
        assert eventually(lambda: _says(computer, "closed", "hostname")) == "closed"
        assert qemu_of(cloud, "slappart0") == machine
        cloud.slapos("service", "destroy", "closed")
        assert find_marked(Mark("NO_SUCH_MARK", ""), user) == []

    def forwarders(cloud: Cloud) -> list[int]:
        """The processes that listen at the ports of the machine, without those that serve a connection."""
        found = [pid for pid in processes_of(cloud, "slappart0") if program_of(pid).endswith("/socat")]
        return [pid for pid in found if "LISTEN" in Path(f"/proc/{pid}/cmdline").read_text() and _is_first(pid, found)]

    def _is_first(pid: int, all_of_them: list[int]) -> bool:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return parent not in all_of_them

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("open", {"loopback of the computer", "master at loopback", "computer", "private address of a partition"}),
            ("tapped", {"computer", "master at the bridge", "private address of a partition"}),
        ],
    )
    def test_it_is_the_firewall_that_keeps_guests_from_the_computer(
        computer: Computer, name: str, expected: set[str]
    ) -> None:
        """The last test here: without the rules all of that is open. The agent may bring them back just meanwhile."""

        def without_rules() -> set[str]:
            computer.inside.words("nft", "flush", "ruleset").check()
            return reached_by(computer, name)

        eventually(lambda: expected <= without_rules(), 180)
