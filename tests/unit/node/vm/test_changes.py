"""What a change of a machine does while it runs, and what takes a restart."""

from typing import Any

import pytest

from slap.model.vm.machine import Forward, Machine
from slap.model.vm.parameters import Place, machine_of, read_parameters
from slap.node.vm.changes import Action, Changes, Close, Open, SetCpus, SetMemory, after, changes

PLACE = Place("slappart3", "INST-7", "web", "127.77.0.5")


def machine(**said: Any) -> Machine:
    ordered = {"image": "tiny", "nat-rules": [80], **{name.replace("_", "-"): value for name, value in said.items()}}
    return machine_of(read_parameters(ordered), PLACE)


def forward(port: int) -> Forward:
    return Forward(guest=port, address="127.77.0.5", port=port + 10000)


@pytest.mark.parametrize(
    ("before", "after", "live"),
    [
        ({}, {}, ()),
        ({}, {"nat_rules": [80, 81]}, (Open(forward(81)),)),
        ({}, {"nat_rules": []}, (Close(forward(80)),)),
        ({}, {"nat_rules": [81]}, (Close(forward(80)), Open(forward(81)))),
        ({}, {"image": "other"}, ()),
        ({}, {"stop_timeout": 99}, ()),
        ({"ram_max": "2 GiB"}, {"ram": "2 GiB", "ram_max": "2 GiB"}, (SetMemory(2048),)),
        ({"ram": "2 GiB", "ram_max": "2 GiB"}, {"ram_max": "2 GiB"}, (SetMemory(1024),)),
        ({"ram": "3 GiB", "ram_max": "2 GiB"}, {"ram": "2 GiB", "ram_max": "2 GiB"}, (SetMemory(2048),)),
        ({"cpu_max": 4}, {"cpu": 3, "cpu_max": 4}, (SetCpus(3),)),
    ],
)
def test_what_is_done_while_it_runs(before: dict[str, Any], after: dict[str, Any], live: tuple[Action, ...]) -> None:
    found = changes(machine(**before), machine(**after))
    assert (found.live, found.restart) == (live, ())


def test_a_disk_grows_while_it_runs() -> None:
    found = changes(machine(disk_size=1), machine(disk_size=2))
    assert [str(action) for action in found.live] == ["give disk root 2 GiB"]


@pytest.mark.parametrize("before", [{}, {"disk_size": 3}])
def test_what_was_ordered_of_a_disk_is_not_what_it_has(before: dict[str, Any]) -> None:
    """Whether it has to grow is for those to say who can look at it."""
    assert [str(each) for each in changes(machine(**before), machine(disk_size=2)).live] == ["give disk root 2 GiB"]
    assert changes(machine(disk_size=2), machine()).live == ()


def test_after_all_that_is_done_live_nothing_is_left_to_do() -> None:
    before = machine(ram_max="2 GiB", cpu_max=4, disk_size=1)
    wanted = machine(ram="2 GiB", ram_max="2 GiB", cpu=2, cpu_max=4, disk_size=2, nat_rules=[81])
    todo = changes(before, wanted).live
    assert len(todo) == 5
    for action in todo:
        before = after(before, action)
    assert (before, changes(before, wanted)) == (wanted, Changes())


@pytest.mark.parametrize(
    ("before", "after", "restart"),
    [
        ({}, {"ram": "2 GiB"}, ("memory",)),
        ({"ram": "2 GiB"}, {}, ("memory",)),
        ({"ram_max": "2 GiB"}, {"ram": "3 GiB", "ram_max": "2 GiB"}, ("memory",)),
        ({"ram_max": "2 GiB"}, {"ram": "3 GiB", "ram_max": "3 GiB"}, ("most_memory", "memory")),
        ({}, {"cpu": 2}, ("cpus",)),
        ({"cpu": 3, "cpu_max": 4}, {"cpu": 2, "cpu_max": 4}, ("cpus",)),
        ({}, {"hostname": "other"}, ("seed",)),
        ({}, {"internet": True}, ("network",)),
        ({}, {"disks": [{"name": "more", "size": 1}]}, ("disks",)),
        ({}, {"keyboard": "fr"}, ("console",)),
        ({}, {"acceleration": "emulation"}, ("acceleration",)),
    ],
)
def test_what_takes_a_restart(before: dict[str, Any], after: dict[str, Any], restart: tuple[str, ...]) -> None:
    found = changes(machine(**before), machine(**{**after, "nat_rules": [80, 81]}))
    assert (found.live, found.restart) == ((), restart)
