"""Firewall, processors and disks: the decisions of their managers."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import CommandFailed, InvalidInput
from slap.node.core.accounts import Account
from slap.node.manager.cpuset import Cpuset, assign
from slap.node.manager.devperm import Devperm, Disk, disks_of, refusal
from slap.node.manager.whitelistfirewall import WhitelistFirewall, addresses_of, removal, rules
from slap.system.host.cpusets import FirstVersion, SecondVersion, find_cpusets, parse_cpus
from tests.unit.node.managed import Room

ME = Account("slapuser0", os.getuid(), os.getgid(), os.getgid())


def lines(text: str) -> list[str]:
    """What the script says of the partition's own chain."""
    return [
        line.partition("-whitelist ")[2] for line in text.splitlines() if line.startswith("add rule inet slapos slap")
    ]


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ([], ["meta nfproto ipv4 reject"]),
        (["10.0.0.1", "10.0.0.2"], ["ip daddr { 10.0.0.1, 10.0.0.2 } accept", "meta nfproto ipv4 reject"]),
        (["2001:db8::1"],
         ["meta nfproto ipv4 reject", "ip6 daddr { 2001:db8::1 } accept", "meta nfproto ipv6 reject"]),
    ],
)  # fmt: skip
def test_a_user_reaches_what_is_listed(addresses: list[str], expected: list[str]) -> None:
    text = rules("slappart0", 1234, addresses)
    assert lines(text) == expected
    assert "{ 1234 : jump slappart0-whitelist }" in text


def test_forgetting_deletes_what_is_made_first_so_that_it_can_be_repeated() -> None:
    words = [" ".join(line.split()[:2]) for line in removal("slappart0", 7).splitlines()]
    assert words[-2:] == ["delete element", "delete chain"]
    assert {"add chain", "add map", "add element"} <= set(words)


@pytest.mark.parametrize("entries", [["10.0.0.0/8"], ["example.com"], [None], [{}], [5], ["1.1.1.1 } accept"],
                                     ["::1%x } accept\nflush ruleset"], ["fe80::1%eth0"]])  # fmt: skip
def test_what_is_no_address_is_refused(entries: list[Any]) -> None:
    with pytest.raises(InvalidInput, match="whitelist"):
        addresses_of(entries)


def test_without_users_a_firewall_is_refused(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.write(WhitelistFirewall.request_file, "[]")
    with pytest.raises(InvalidInput, match="cannot give it"):
        WhitelistFirewall(room.tools).configured(room.folder)


@pytest.mark.parametrize(
    ("cpus", "taken", "wanted", "expected"),
    [
        ([0, 1, 2], {}, [10, 11], {10: 1, 11: 2}),
        ([0, 1], {}, [10, 11], {10: 1}),
        ([0], {}, [10], {}),
        ([0, 1, 2], {1: frozenset({9})}, [10], {10: 2}),
        ([0, 1, 2], {1: frozenset({10})}, [10, 10], {}),
        ([0, 1, 2], {0: frozenset({10})}, [10], {10: 1}),  # the first is everybody's
        ([3, 7], {7: frozenset()}, [10], {10: 7}),
    ],
)
def test_processors_are_given_one_by_one(
    cpus: list[int], taken: dict[int, frozenset[int]], wanted: list[int], expected: dict[int, int]
) -> None:
    assert assign(cpus, taken, wanted) == expected


@pytest.mark.parametrize(("text", "cpus"), [("0-3\n", [0, 1, 2, 3]), ("0,2-3,7", [0, 2, 3, 7]), ("", []), ("5", [5])])
def test_lists_of_processors_are_read(text: str, cpus: list[int]) -> None:
    assert parse_cpus(text) == cpus


def a_group(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_only_power_users_get_a_processor_and_only_for_their_own_processes(tmp_path: Path) -> None:
    root = a_group(tmp_path / "v1", cpuset__cpus="0-2", cpuset__mems="0", cgroup__procs="4 5")
    room = Room(tmp_path / "node", {"power_user_list": "slapuser9"}, account=ME)
    room.write(Cpuset.request_file, f"1\n{os.getpid()}\nwords\n99999999999\n")
    with pytest.raises(InvalidInput, match="may not have processors"):
        Cpuset(room.tools, FirstVersion(root)).configured(room.folder)
    allowed = Room(tmp_path / "other", {"power_user_list": "slapuser9, slapuser0"}, account=ME)
    own = os.getpid()
    allowed.write(Cpuset.request_file, f"{own}\nwords\n999999999\n")
    Cpuset(allowed.tools, FirstVersion(root)).configured(allowed.folder)
    assert (root / "cpu1/cgroup.procs").read_text() == str(own)
    assert (root / "cpu1/cpuset.cpus").read_text() == "1"
    assert (root / "cpu0/cgroup.procs").read_text() in ("4", "5")  # the others, each written by itself


def test_the_second_version_makes_a_processor_a_partition_of_its_own(tmp_path: Path) -> None:
    root = a_group(
        tmp_path, cpuset__cpus__effective="0-1", cgroup__subtree_control="", cgroup__controllers="cpuset cpu"
    )
    sets = find_cpusets(tmp_path)
    assert isinstance(sets, SecondVersion)
    sets.give(77, 1)
    sets.move_others()
    found = {path.name: path.read_text() for path in (root / "cpu1").iterdir()}
    assert found == {"cpuset.cpus": "1", "cpuset.cpus.partition": "root", "cgroup.procs": "77"}
    (root / "cpuset.cpus.effective").write_text("0")
    assert (list(sets.cpus()), sets.taken()) == ([0, 1], {1: frozenset({77})})


def test_a_computer_without_cpusets_says_so(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no processors"):
        find_cpusets(tmp_path)


@pytest.mark.parametrize(
    ("disk", "allowed", "words"),
    [
        (Disk("/dev/sdb", is_block_device=True, is_mounted=False), ["/dev/sdb"], ""),
        (Disk("/dev/sdb", is_block_device=True, is_mounted=False), [], "not in allowed-disk-for-vm"),
        (Disk("/dev/sdb", is_block_device=False, is_mounted=False), ["/dev/sdb"], "not a disk"),
        (Disk("/dev/sda1", is_block_device=True, is_mounted=True), ["/dev/sda1"], "mounted"),
    ],
)
def test_only_free_disks_that_are_listed_are_given_away(disk: Disk, allowed: list[str], words: str) -> None:
    why = refusal(disk, allowed)
    assert words in why
    assert bool(words) == bool(why)


@pytest.mark.parametrize("entry", [None, "x", {}, {"disk": None}, {"disk": "/etc/shadow"}, {"disk": "/dev/a\0b"}])
def test_what_names_no_disk_is_refused(entry: Any) -> None:
    with pytest.raises(InvalidInput):
        disks_of([entry])


def test_a_link_to_a_disk_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    room = Room(tmp_path, {"managers": {"devperm": {"allowed-disk-for-vm": "/dev/null\n/dev/vdz"}}}, account=ME)
    room.write(Devperm.request_file, json.dumps([{"disk": "/dev/../dev/null"}]))
    with pytest.raises(InvalidInput, match="not a disk"):
        Devperm(room.tools).configured(room.folder)
