"""Partitions that take all they can get, on a node with Unix users: each is held to its limits, its neighbour goes on.

All is counted, nothing is timed: bench/neighbour measures how long the neighbour takes meanwhile. Users take root.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from slap.system import environment
from slap.system.metrics import open_files
from tests.system.cloud import eventually
from tests.system.exhaustion import ATTACKS, MIB, Attack, Scene, neighbour_and_attacker

REQUESTS = 200  # to the neighbour, during each attack
MOST_INSTANCES = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
PATIENCE = 100  # seconds: all are looked at every minute at least


@dataclass(frozen=True)
class Hold:
    """What must come of an attack: `is_held` becomes true, `told` is shown, and `reached` is the limit that is counted."""

    is_held: Callable[[Scene], bool] = lambda scene: True
    told: str = ""
    reached: str = ""


def processes_within(most: int, scene: Scene) -> bool:
    """Whether there are as many as there may be; more is never seen."""
    counts = [len(scene.node.processes(scene.number)) for _ in range(20)]
    assert max(counts) <= most
    return max(counts) == most


def descriptors_within(most: int, scene: Scene) -> bool:
    counts = [open_files(pid) for _ in range(20) for pid in scene.node.processes(scene.number)]
    assert max(counts, default=0) <= most
    return most - 60 < scene.wrote("count") <= most


def nothing_runs(scene: Scene) -> bool:
    return not scene.node.processes(scene.number)


HELD = {
    "fork": Hold(partial(processes_within, 60), "its limit is processes = 60", "processes"),
    "memory": Hold(told="its limit is memory = 300 MiB", reached="memory"),
    "memory in small processes": Hold(told="its limit is memory = 300 MiB", reached="memory"),
    "descriptors": Hold(partial(descriptors_within, 4096), "descriptors = 4096", "descriptors"),
    "disk": Hold(nothing_runs, "its limit is disk = 100 MiB", "disk"),
    "many files": Hold(nothing_runs, "files, by its part of the disk", "disk"),
    # The kernel gives no user more.
    "inotify": Hold(lambda scene: 0 < scene.wrote("count") <= MOST_INSTANCES),
    "ports": Hold(partial(descriptors_within, 4096), "descriptors = 4096", "descriptors"),
    # Its log was rotated, and it goes on.
    "log flood": Hold(
        lambda scene: 20 * MIB < scene.logged() < 60 * MIB and not nothing_runs(scene), "prints too much"
    ),
}
DAEMONS = Attack(
    "import os, time\nopen('starts', 'a').write('x')\n"
    "for _ in range(3): os.system('env -i setsid -f sleep 1000')\ntime.sleep(1.1)"
)

if environment.is_root():

    @pytest.fixture(scope="module")
    def scene() -> Iterator[Scene]:
        with neighbour_and_attacker() as made:
            yield made

    @pytest.mark.parametrize("name", ATTACKS)
    def test_who_takes_all_is_held_to_its_limits_and_its_neighbour_goes_on(scene: Scene, name: str) -> None:
        attack, held = ATTACKS[name], HELD[name]
        scene.begin(name, attack)
        assert all(scene.neighbour_answers() for _ in range(REQUESTS))
        eventually(lambda: held.told in scene.info() and held.is_held(scene), PATIENCE, 0.1)
        assert all(scene.neighbour_answers() for _ in range(REQUESTS))
        assert held.reached in scene.reached()
        scene.end()
        assert scene.node.processes(0 if scene.other else 1) == []

    def test_daemons_that_hide_end_with_their_service(scene: Scene) -> None:
        scene.begin("daemons", DAEMONS)
        starts = scene.folder / "starts"
        eventually(lambda: starts.exists() and starts.stat().st_size > 3, PATIENCE)
        assert len(scene.node.processes(scene.number)) <= 8
        assert scene.neighbour_answers()
        scene.end()

    def test_more_than_the_owner_allows_is_refused_in_words(scene: Scene) -> None:
        cloud = scene.node.cloud
        profile = cloud.folder / "neighbour/software.cfg"
        cloud.slapos("request", "attacker", str(profile), "--no-wait", "--limit", "processes=100000", check=False)
        message = eventually(lambda: scene.message() if "owner" in scene.message() else "")
        assert "processes = 100000, at most 2048" in message
        assert scene.node.processes(scene.number) == []
        cloud.slapos("service", "destroy", "attacker")

    def test_limits_are_shown(scene: Scene) -> None:
        cloud = scene.node.cloud
        computer = cloud.slapos("computer", "info", cloud.computer).stdout
        assert "Limits of a partition" in computer
        assert "2048, at most 2048" in computer
        assert "Limits" in cloud.slapos("service", "info", "neighbour").stdout

    def test_limits_that_change_hold_for_what_runs_without_a_restart(scene: Scene) -> None:
        cloud = scene.node.cloud
        profile = str(cloud.folder / "neighbour/software.cfg")
        cloud.slapos("request", "neighbour", profile, "--limit", "cpu-weight=50")
        eventually(lambda: os.getpriority(os.PRIO_PROCESS, scene.neighbour) == 3)
        assert scene.neighbour_answers()

else:

    def test_without_root_rights_there_is_no_user_to_limit() -> None:
        assert not environment.is_root()
