"""Limits of partitions on a node: what is set, what is seen, and who is ended."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import InvalidInput
from slap.model.resources.limits import Limits
from slap.node.buildout.builder import BUILDS
from slap.node.core.accounts import Account
from slap.node.limits.enforcement import LimitsKeeper, cgroup_settings
from slap.node.limits.eyes import SystemEyes
from slap.node.limits.watcher import Glance, LimitsWatcher
from slap.node.partition.folder import PartitionFolder, Partitions
from slap.node.usage.store import UsageStore
from slap.system.host.cgroup import FakeCgroups
from slap.system.host.quota import DiskUse, FakeQuotas
from slap.system.metrics import Member, open_files
from slap.system.processes import PARTITION_MARK
from tests.unit.node.things import PART, a_config, an_instance

MIB = 1 << 20
SECTION = {"memory": "100MiB", "processes": "10", "disk": "100MiB", "max_disk": "1GiB"}


@dataclass
class Computer:
    """What there is to be seen."""

    own: list[Member] = field(default_factory=list)
    exact: dict[int, int] = field(default_factory=dict)
    bytes: int = 0
    count: int = 1
    opened: dict[int, int] = field(default_factory=dict)
    builds: set[Path] = field(default_factory=set)
    ended: list[int] = field(default_factory=list)
    trimmed: list[str] = field(default_factory=list)

    def members(self, partitions: Mapping[str, Limits]) -> dict[str, list[Member]]:
        return {name: self.own for name in (PART, BUILDS) if name in partitions}

    def memory(self, pid: int) -> int:
        return self.exact[pid]

    def files(self, pid: int) -> int:
        return self.opened.get(pid, 0)

    def disk(self, partition: str) -> DiskUse:
        return DiskUse(self.bytes, self.count)

    def trim_logs(self, partition: str) -> None:
        self.trimmed.append(partition)

    def end(self, pid: int) -> None:
        self.ended.append(pid)


class Scene:
    """A partition whose limits are in force."""

    def __init__(self, folder: Path, cgroups: FakeCgroups | None = None) -> None:
        self.config = a_config(folder, limits=SECTION)
        self.store = UsageStore(self.config.usage_file)
        self.computer, self.touched, self.time = Computer(), [], 1000.0
        self.cgroups = cgroups
        self.keeper = LimitsKeeper(self.config, cgroups)
        self.watcher = LimitsWatcher(
            self.keeper, self.computer, self.store, self.touched.append,
            self.config.instance_root, lambda: self.time,
        )  # fmt: skip
        self.apply()

    touched: list[str]

    @property
    def folder(self) -> PartitionFolder:
        return Partitions(self.config).get(PART)

    def apply(self, **limits: Any) -> dict[str, Any]:
        """Request; returns what supervisord is to set."""
        self.watcher.apply(self.folder, an_instance(limits=Limits(**limits)))
        found: dict[str, Any] = json.loads(self.folder.limits_file.read_text())
        return found

    def look(self, *own: tuple[int, int, int]) -> list[int]:
        """Processes as id, threads and MiB; returns those that were ended."""
        self.computer.own = [Member(pid, threads, size * MIB, pid) for pid, threads, size in own]
        self.computer.exact = {pid: size * MIB for pid, _, size in own}
        self.watcher.once(Glance())
        return self.computer.ended


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_who_takes_little_is_left_alone(scene: Scene) -> None:
    assert scene.look((1, 1, 40), (2, 5, 50)) == []
    assert (scene.watcher.trouble(PART), scene.touched) == ("", [])


def test_the_largest_processes_are_ended_until_the_rest_fits(scene: Scene) -> None:
    assert scene.look((1, 1, 60), (2, 1, 70), (3, 1, 80)) == [3, 2]
    assert "its limit is memory = 100 MiB" in scene.watcher.trouble(PART)
    assert scene.touched == [PART]
    scene.time += 1000
    assert scene.watcher.trouble(PART) == ""


def test_memory_that_is_shared_counts_once(scene: Scene) -> None:
    scene.computer.own = [Member(pid, 1, 80 * MIB, pid) for pid in (1, 2)]
    scene.computer.exact = {1: 45 * MIB, 2: 45 * MIB}
    scene.watcher.once(Glance())
    assert scene.computer.ended == []


def test_threads_count_as_processes_and_a_bomb_is_ended_whole(scene: Scene) -> None:
    assert scene.look((1, 9, 1), (2, 3, 1)) == [2, 1]
    assert "its limit is processes = 10" in scene.watcher.trouble(PART)


def test_a_request_for_less_holds_and_one_for_more_than_the_owner_allows_is_refused(scene: Scene) -> None:
    scene.apply(memory=50 * MIB)
    assert scene.look((1, 1, 60)) == [1]
    with pytest.raises(InvalidInput, match="owner") as caught:
        scene.apply(memory=200 * MIB)
    assert "memory = 200 MiB, at most 100 MiB" in caught.value.details


def test_a_full_disk_is_told_until_there_is_room_or_a_higher_limit(scene: Scene) -> None:
    scene.computer.bytes = 200 * MIB
    before = Glance(at=scene.time, disk=1 << 62)  # much was written since
    scene.watcher.once(before)
    assert "its limit is disk = 100 MiB" in scene.watcher.fullness(an_instance())
    assert scene.touched == [PART]
    assert scene.watcher.fullness(an_instance(limits=Limits(disk=500 * MIB))) == ""
    scene.computer.bytes, scene.time = 50 * MIB, scene.time + 100
    scene.watcher.once(Glance(at=scene.time))
    assert (scene.watcher.fullness(an_instance()), scene.touched) == ("", [PART, PART])


def test_logs_are_looked_at_whenever_much_was_written_also_while_disks_are_not_measured(scene: Scene) -> None:
    for _ in range(2):
        scene.watcher.once(Glance(at=scene.time, disk=1 << 62))
    assert scene.computer.trimmed == [PART, PART]


def test_a_log_that_nothing_rotates_is_emptied_while_it_is_written(tmp_path: Path) -> None:
    scene, eyes = Scene(tmp_path), SystemEyes(a_config(tmp_path))
    logs = scene.folder.logs
    logs.mkdir(parents=True)
    with (logs / "cron.log").open("ab", buffering=0) as cron, (logs / "buildout.log").open("ab", buffering=0) as build:
        os.truncate(cron.fileno(), 41 << 20)
        build.write(b"kept")
        eyes.trim_logs(PART)
        cron.write(b"new")
    assert (logs / "cron.log").read_text() == "new"
    assert (logs / "buildout.log").read_text() == "kept"


def test_processes_of_a_build_are_seen_by_its_folder_while_builds_are_watched(tmp_path: Path) -> None:
    release = tmp_path / "release"
    release.mkdir()
    (release / "large").write_bytes(bytes(MIB))
    eyes = SystemEyes(a_config(tmp_path), {release, tmp_path / "gone"})
    with subprocess.Popen(["/bin/sleep", "1000"], env={PARTITION_MARK: str(release)}) as build:
        assert [each.pid for each in eyes.members({BUILDS: Limits()})[BUILDS]] == [build.pid]
        assert eyes.members({PART: Limits()}) == {}  # the last build ended meanwhile
        eyes.end(build.pid)
    assert eyes.disk(BUILDS).bytes >= MIB
    assert eyes.disk(BUILDS).files == 2


def test_open_files_are_counted_where_the_kernel_does() -> None:
    before = open_files(os.getpid())
    with open("/dev/null"), open("/dev/null"):
        assert open_files(os.getpid()) == (before + 2 if before else 0)
    assert open_files(1 << 22) == 0


def test_what_is_measured_lasts_longer_than_the_agent(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.computer.bytes = 200 * MIB
    scene.watcher.once(Glance(at=scene.time, disk=1 << 62))
    assert Scene(tmp_path).watcher.fullness(an_instance()) != ""


def test_a_full_disk_is_told_also_where_nothing_can_be_written_down(scene: Scene) -> None:
    scene.computer.bytes = 200 * MIB
    scene.watcher.once(Glance(at=scene.time))
    scene.store.close()
    scene.watcher.once(Glance(at=scene.time, disk=1 << 62))
    assert scene.watcher.fullness(an_instance()) != ""
    assert scene.touched == [PART]
    scene.look((1, 1, 500))
    assert scene.computer.ended == [1]


def test_too_many_files_are_a_full_disk(scene: Scene) -> None:
    most = scene.keeper.most_files(Limits(disk=100 * MIB))
    assert most is not None
    scene.computer.count = most + 1
    scene.watcher.once(Glance(at=scene.time, disk=1 << 62))
    assert f"Its files take {most + 1} files" in scene.watcher.fullness(an_instance())


def test_a_process_that_has_all_its_descriptors_is_told_and_left_alone(scene: Scene) -> None:
    scene.apply(descriptors=100)
    scene.computer.opened = {1: 96}
    assert scene.look((1, 1, 1)) == []
    assert "descriptors = 100" in scene.watcher.trouble(PART)


def test_how_often_a_limit_was_reached_is_counted_until_the_partition_is_empty(scene: Scene) -> None:
    scene.look((1, 1, 60), (2, 1, 70))
    scene.look((1, 1, 60), (2, 1, 70))  # it is still told of the first time
    scene.time += 1000
    scene.look((1, 12, 1))
    assert scene.store.reached() == {PART: {"memory": 1, "processes": 1}}
    scene.watcher.forget(scene.folder)
    assert scene.store.reached() == {}


def test_builds_have_limits_of_their_own_while_one_runs(tmp_path: Path) -> None:
    section = {"build_memory": "200MiB", "build_disk": "300MiB", "build_processes": "50"}
    scene = Scene(tmp_path)
    scene.config = a_config(tmp_path, limits=section)
    scene.watcher.keeper = scene.keeper = LimitsKeeper(scene.config, None)
    with scene.watcher.building(tmp_path / "release", Account("soft", 5000, 5000, 5000)) as limits:
        assert (limits.processes, limits.keeps_rights, limits.nice) == (50, True, 3)
        assert scene.computer.builds == {tmp_path / "release"}
        assert scene.look((1, 1, 250), (2, 1, 10)) == [1]
        assert "its limit is memory = 200 MiB" in scene.watcher.trouble(BUILDS)
        scene.computer.bytes, scene.computer.ended = 400 * MIB, []
        scene.watcher.once(Glance(at=scene.time, disk=1 << 62))
        assert set(scene.computer.ended) == {1, 2}
    assert (scene.computer.builds, scene.keeper.current(), scene.touched) == (set(), {}, [])
    assert scene.store.reached()[BUILDS] == {"memory": 1}


def test_a_quota_is_set_once_and_removed_with_what_was_in_the_partition(tmp_path: Path) -> None:
    quotas, config = FakeQuotas(), a_config(tmp_path, limits=SECTION)
    keeper = LimitsKeeper(config, None, quotas)
    folder = replace(Partitions(config).get(PART), account=Account("one", 5001, 5001, 5001))
    keeper.apply(folder, an_instance())
    assert quotas.projects == {folder.path: 5001}
    assert quotas.limits[5001].bytes == 100 * MIB
    keeper.apply(folder, an_instance(limits=Limits(disk=200 * MIB)))
    assert quotas.limits[5001].bytes == 200 * MIB
    keeper.forget(folder)
    assert (quotas.projects, quotas.limits) == ({}, {})


def test_without_users_nobody_has_a_project(tmp_path: Path) -> None:
    quotas, config = FakeQuotas(), a_config(tmp_path, limits=SECTION)
    LimitsKeeper(config, None, quotas).apply(Partitions(config).get(PART), an_instance())
    assert quotas.projects == {}


def test_supervisord_is_told_what_to_set_and_nothing_of_an_empty_partition(scene: Scene) -> None:
    told = scene.apply(descriptors=100, cpu_weight=50)
    assert (told["descriptors"], told["nice"], told["processes"]) == (100, 3, None)  # all have one user here
    scene.watcher.forget(scene.folder)
    assert (scene.folder.limits_file.exists(), scene.keeper.current()) == (False, {})


def test_with_cgroups_the_kernel_keeps_the_limits(tmp_path: Path) -> None:
    cgroups = FakeCgroups()
    scene = Scene(tmp_path, cgroups)
    assert scene.apply()["cgroup"].endswith(PART)
    assert cgroups.settings[PART] == cgroup_settings(Limits(memory=100 * MIB, processes=10))
    cgroups.members["elsewhere"] = [7]
    assert scene.look((7, 1, 500)) == []
    assert cgroups.members == {PART: [7], "elsewhere": []}
    cgroups.killed[PART] = 1
    scene.look()
    assert "the kernel ended a process" in scene.watcher.trouble(PART)
    scene.watcher.forget(scene.folder)
    assert cgroups.settings == {}


def test_settings_of_a_cgroup_are_in_the_words_of_the_kernel() -> None:
    limits = Limits(memory=100 * MIB, processes=10, cpu_weight=50)
    assert cgroup_settings(limits) == {
        "pids.max": "10",
        "memory.max": str(100 * MIB),
        "memory.high": str(90 * MIB),
        "cpu.weight": "50",
        "io.weight": "default 100",
    }
    assert cgroup_settings(Limits())["memory.max"] == "max"


def test_a_glance_at_a_computer_that_did_not_change_sees_no_process(scene: Scene) -> None:
    glance = scene.watcher.once(Glance())
    scene.computer.own = [Member(1, 1, 500 * MIB, 1)]
    scene.computer.exact = {1: 500 * MIB}
    scene.watcher.once(Glance(0, 1 << 30, 0, glance.at, open_files=1 << 30))
    assert scene.computer.ended == []
    scene.time += 60
    scene.watcher.once(glance)
    assert scene.computer.ended == [1]
