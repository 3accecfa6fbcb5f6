"""What a service leaves when its process ends is ended before it is started again; other services keep what is theirs."""

import os
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from slap.system.host.orphans import RUN_MARK
from slap.system.host.proc import PARTITION_MARK, read_environment
from slap.system.processes import Mark, find_marked
from tests.system.cloud import eventually
from tests.system.test_node_supervisor import EXITED, RUNNING, SLEEP, Room, room

__all__ = ["room"]

LEAVES = {
    "children": "for i in 1 2 3; do sleep 1000 & done;",
    "session": "setsid sleep 1000 &",
    "daemon": "setsid -f sleep 1000;",
    "daemon-with-children": "setsid -f sh -c 'sleep 1000 & sleep 1000 & wait';",
    "tree": "setsid -f sh -c 'setsid -f sleep 1000; sleep 1000 & wait';",
    "ignores-signals": "(trap '' TERM HUP INT; exec sleep 1000) &",
}


def runs(room: Room, group: str) -> Counter[str]:
    """How many processes each run of each program of a group has."""
    found = find_marked(Mark(PARTITION_MARK, f"/{group}"))
    return Counter(filter(None, (read_environment(pid).get(RUN_MARK) for pid in found)))


def runs_of(room: Room, group: str, name: str) -> dict[str, int]:
    return {run: count for run, count in runs(room, group).items() if run.startswith(f"{group}:{name}:")}


@pytest.fixture(scope="module")
def crashing(room: Room) -> Room:
    """Every row as a service that goes on, and as one that ends soon after it was started, three times so far."""
    steady = {f"{name}-steady": f"{script} {SLEEP}" for name, script in LEAVES.items()}
    ending = {f"{name}-ends": f"echo start; {script} sleep 1.05; exit 1" for name, script in LEAVES.items()}
    room.write("left", steady | ending)
    room.supervisor.update("left")
    for name in ending:
        eventually(partial(_has_started_thrice, room.config.log / f"{name}.log"))
    return room


def _has_started_thrice(log: Path) -> bool:
    return log.exists() and log.read_text().count("start") > 2


@pytest.mark.parametrize("name", LEAVES)
def test_a_service_that_ends_again_and_again_has_one_run(crashing: Room, name: str) -> None:
    eventually(lambda: len(runs_of(crashing, "left", f"{name}-ends")) <= 1, 5)


@pytest.mark.parametrize("name", LEAVES)
def test_what_a_running_service_of_the_same_partition_started_goes_on(crashing: Room, name: str) -> None:
    (count,) = runs_of(crashing, "left", f"{name}-steady").values()
    assert count == 1 + LEAVES[name].count("sleep 1000") + (2 if "for" in LEAVES[name] else LEAVES[name].count("sh -c"))


def test_what_a_killed_service_leaves_is_ended(room: Room) -> None:
    room.update("killed", service=f"setsid sleep 1000 & {SLEEP}", other=f"setsid sleep 1000 & {SLEEP}")
    first, other = (room.wait("killed", name, RUNNING).pid for name in ("service", "other"))
    before = runs_of(room, "killed", "service")
    os.kill(first, 9)
    eventually(lambda: not before.keys() & runs_of(room, "killed", "service").keys(), 10)
    assert room.processes("killed")["other"].pid == other
    assert list(runs_of(room, "killed", "other").values()) == [2]


def test_removed_nothing_of_it_is_left(room: Room) -> None:
    room.update("gone", service=f"setsid sleep 1000 & {SLEEP}")
    room.wait("gone", "service", RUNNING)
    room.supervisor.remove("gone")
    eventually(lambda: not runs(room, "gone"), 5)


def test_a_program_that_ran_once_and_succeeded_may_leave_a_daemon_until_it_runs_again(room: Room) -> None:
    room.update("once", once=True, program="setsid -f sleep 1000")
    assert room.wait("once", "program", EXITED).status == 0
    (first,) = eventually(lambda: runs(room, "once"))
    room.update("once", once=True, program="true; setsid -f sleep 1000")
    room.wait("once", "program", EXITED)
    eventually(lambda: len(runs(room, "once")) == 1 and first not in runs(room, "once"))


def test_a_program_that_ran_once_and_failed_leaves_nothing(room: Room) -> None:
    room.update("failed", once=True, program="setsid -f sleep 1000; exit 1")
    room.wait("failed", "program", EXITED)
    eventually(lambda: not runs(room, "failed"), 5)
