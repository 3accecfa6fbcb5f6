"""Cgroups of partitions: the fake, and the kernel's where version 2 of them can be written.

A hierarchy of version 2 beside one of version 1 has no controllers of memory and processes, yet it holds processes and
ends them all the same. Where none can be written, the node says so and watches instead.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slap.system.host.cgroup import (
    Cgroups,
    FakeCgroups,
    UnifiedCgroups,
    open_cgroups,
    open_processor_groups,
)
from slap.system.host.launch import LaunchLimits
from slap.system.host.proc import is_alive


def hierarchy() -> Path | None:
    """Where cgroups of version 2 can be made."""
    lines = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    mounts = [Path(each[4]) for each in lines if each[each.index("-") + 1] == "cgroup2"]
    return next((mount for mount in mounts if os.access(mount / "cgroup.procs", os.W_OK)), None)


def _real() -> Iterator[Cgroups]:
    place = hierarchy()
    if place is None:
        assert open_cgroups("test") is None
        yield FakeCgroups()
        return
    root = place / f"slapos-test-{os.getpid()}"
    root.mkdir()
    yield UnifiedCgroups(root)
    for left in root.glob("*/"):
        left.rmdir()
    root.rmdir()


def _fake() -> Iterator[Cgroups]:
    yield FakeCgroups()


@pytest.fixture(params=[_fake, _real], ids=["fake", "real"])
def cgroups(request: pytest.FixtureRequest) -> Iterator[Cgroups]:
    make: Callable[[], Iterator[Cgroups]] = request.param
    yield from make()


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen(["/bin/sleep", "1000"]) as process:
        yield process.pid
        process.kill()


def test_processes_join_and_move(cgroups: Cgroups, sleeper: int) -> None:
    for name in ("slappart0", "slappart1"):
        folder = cgroups.make(name, {})
        assert folder.endswith(name)
    cgroups.join("slappart0", sleeper)
    assert (cgroups.pids("slappart0"), cgroups.pids("slappart1")) == ([sleeper], [])
    cgroups.join("slappart1", sleeper)
    assert (cgroups.pids("slappart0"), cgroups.pids("slappart1")) == ([], [sleeper])
    cgroups.join("slappart0", sleeper)
    for name in ("slappart0", "slappart1"):
        cgroups.remove(name)


def test_removed_all_of_it_is_ended(cgroups: Cgroups, sleeper: int) -> None:
    cgroups.make("slappart0", {})
    cgroups.join("slappart0", sleeper)
    cgroups.remove("slappart0")
    assert is_alive(sleeper) == isinstance(cgroups, FakeCgroups)
    assert cgroups.pids("slappart0") == []


def test_of_one_that_is_not_there_nothing_is_known(cgroups: Cgroups) -> None:
    cgroups.remove("slappart0")
    assert (cgroups.pids("slappart0"), cgroups.kills("slappart0")) == ([], 0)


def test_settings_are_written_where_the_kernel_has_them(cgroups: Cgroups) -> None:
    cgroups.make("slappart0", {"cgroup.max.descendants": "3", "memory.max": "max"})
    again = cgroups.make("slappart0", {"cgroup.max.descendants": "4"})
    if isinstance(cgroups, UnifiedCgroups):
        assert Path(again, "cgroup.max.descendants").read_text() == "4\n"
    cgroups.remove("slappart0")


def test_without_controllers_of_memory_and_processes_there_are_none_to_use() -> None:
    place = hierarchy()
    has_both = place is not None and {"memory", "pids"} <= set((place / "cgroup.controllers").read_text().split())
    assert has_both or open_cgroups(f"test-{os.getpid()}") is None


def processor_hierarchy() -> Path | None:
    """Where groups of version 1 that share processors can be made."""
    lines = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    mounts = [Path(each[4]) for each in lines if "cgroup" in each[7:] and "cpu" in each[-1].split(",")]
    return next((mount for mount in mounts if os.access(mount, os.W_OK)), None)


def test_a_group_of_processors_has_its_weight_and_goes_when_it_is_empty(sleeper: int) -> None:
    node, place = f"test-{os.getpid()}", processor_hierarchy()
    groups = open_processor_groups(node)
    assert (groups is not None) == (place is not None)
    if groups is None:
        return
    folder = Path(groups.make("slappart0", 50))
    assert (folder / "cpu.shares").read_text() == "512\n"
    groups.make("slappart0", 200)
    assert (folder / "cpu.shares").read_text() == "2048\n"
    LaunchLimits(cgroup=str(folder)).place(sleeper)
    assert str(sleeper) in (folder / "cgroup.procs").read_text().split()
    groups.remove("slappart0")  # it is not empty
    (groups.root / "cgroup.procs").write_text(str(sleeper))
    groups.remove("slappart0")
    assert not folder.exists()
    groups.remove("slappart0")
    (groups.root.parent / "cgroup.procs").write_text(str(sleeper))
    groups.root.rmdir()


def test_a_group_that_is_gone_since_the_machine_started_anew_is_made_by_who_starts_a_program(
    sleeper: int, tmp_path: Path
) -> None:
    LaunchLimits(cgroup=str(tmp_path / "slappart0")).place(sleeper)
    assert (tmp_path / "slappart0/cgroup.procs").read_text() == str(sleeper)
