"""Limits of programs: set for a process, set for a command, and read from what the agent left."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from slap.system.host.launch import UNLIMITED, LaunchLimits, load_launch_limits
from slap.system.process import Command, SystemRunner

ENV = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen(["/bin/sleep", "1000"]) as process:
        yield process.pid
        process.kill()


def run(script: str, limits: LaunchLimits, **variables: str) -> str:
    command = Command(("/bin/sh", "-c", script), Path("/"), {**ENV, **variables}, limits=limits)
    return SystemRunner().run(command).check().stdout.strip()


def test_a_command_runs_within_its_limits() -> None:
    assert run("ulimit -n; ulimit -Hn", LaunchLimits(descriptors=77)) == "77\n77"
    assert run("ulimit -n", UNLIMITED) != "77"


def test_a_command_gains_no_rights_by_programs_that_give_some() -> None:
    script = "grep NoNewPrivs /proc/self/status; ulimit -n"
    assert run(script, LaunchLimits(descriptors=77, keeps_rights=True)).split() == ["NoNewPrivs:", "1", "77"]
    assert run(script, LaunchLimits(descriptors=77)).split() == ["NoNewPrivs:", "0", "77"]


def test_variables_of_the_loader_reach_the_command_and_nothing_before_it(tmp_path: Path) -> None:
    """The loader complains on stderr of a library that is not there, once for each program that it loads."""
    nowhere = str(tmp_path / "nowhere.so")
    script = 'printf %s "$LD_PRELOAD"'
    command = Command(
        ("/bin/sh", "-c", script), Path("/"), {**ENV, "LD_PRELOAD": nowhere}, limits=LaunchLimits(None, 77)
    )
    done = SystemRunner().run(command).check()
    assert done.stdout == nowhere
    assert done.stderr.count("nowhere.so") == 1


def test_more_than_a_process_may_have_is_as_much_as_it_may_have(sleeper: int) -> None:
    LaunchLimits(descriptors=50).limit(sleeper)
    assert "Max open files            50                   50" in Path(f"/proc/{sleeper}/limits").read_text()
    LaunchLimits(descriptors=1 << 30).limit(sleeper)


def test_what_the_agent_left_is_read_and_a_broken_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "slappart0.limits"
    assert load_launch_limits(path) == UNLIMITED
    limits = LaunchLimits(10, 20, 3, 4, "/sys/fs/cgroup/slappart0")
    path.write_text(limits.text())
    assert load_launch_limits(path) == limits
    for text in ("", "{", "[]", '{"colour": 1}'):
        path.write_text(text)
        with pytest.raises((ValueError, TypeError)):
            load_launch_limits(path)


def test_a_process_that_begins_joins_its_cgroup_and_has_its_priority(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            os.closerange(3, 4096)  # what other tests of this process have open counts too
            LaunchLimits(descriptors=60, nice=7, io_level=6, cgroup=str(tmp_path), keeps_rights=True).apply()
            gains = "NoNewPrivs:\t0" in Path("/proc/self/status").read_text()
            os._exit(99 if gains else os.getpriority(os.PRIO_PROCESS, 0))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert (tmp_path / "cgroup.procs").read_text() == str(pid)
