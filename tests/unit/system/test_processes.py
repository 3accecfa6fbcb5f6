"""Processes are found by their mark or their user, however they hide, and ended."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from slap.model.errors import CommandFailed
from slap.system import environment
from slap.system.host.proc import read_environment
from slap.system.metrics import members, processes
from slap.system.processes import (
    Mark,
    allow_many_files,
    ancestors_of,
    end_marked,
    find_marked,
    is_alive,
    is_descendant,
    wait_for_end,
)  # fmt: skip
from tests.interpreter import PYTHON

# Forks twice, leaves its session, and says its number.
_DAEMON = """
import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
print(os.getpid(), flush=True)
time.sleep(60)
"""
# prctl(PR_SET_DUMPABLE, 0): /proc/PID is root's from then on.
_HIDE = "import ctypes,time\nctypes.CDLL(None).prctl(4,0,0,0,0)\nprint('ready',flush=True)\ntime.sleep(60)"
_NOBODY = 65534
_TENANT = 61_234  # a user id of nobody, whose processes all end
# Another process at each moment, which writes down its number for as long as it goes on.
_HOPPER = """
import os, time
file = os.open("hops", os.O_WRONLY)
print(flush=True)
end = time.time() + 30
while time.time() < end:
    if os.fork(): os._exit(0)
    os.pwrite(file, b"%-9d" % os.getpid(), 0)
"""


def test_the_environment_of_a_process_that_just_begins_is_read() -> None:
    for _ in range(300):
        with subprocess.Popen(["/bin/sleep", "60"], env={"SLAP_TEST": "1"}) as begun:
            found = read_environment(begun.pid)
            begun.kill()
        assert found == {"SLAP_TEST": "1"}


@contextmanager
def program(code: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen([PYTHON, "-I", "-c", code], stdout=subprocess.PIPE, text=True, **options)
    try:
        yield started
    finally:
        started.kill()
        started.wait()
        assert started.stdout is not None
        started.stdout.close()


def line_of(started: subprocess.Popen[str]) -> str:
    """What a program says first."""
    assert started.stdout is not None
    return started.stdout.readline()


def a_mark(tmp_path: Path) -> Mark:
    return Mark("SLAP_TEST", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "found"),
    [(b"A=1\0M=v\0", True), (b"M=v", True), (b"M=v2\0", False), (b"XM=v\0", False), (b"", False), (b"A=M=v\0", False)],
)
def test_a_mark_is_a_whole_variable(text: bytes, found: bool) -> None:
    assert Mark("M", "v").is_in(text) is found


def test_what_is_marked_is_ended_with_its_daemons(tmp_path: Path) -> None:
    mark = a_mark(tmp_path)
    with program(_DAEMON, env={mark.name: mark.value}) as started:
        daemon = int(line_of(started))
        assert is_alive(daemon)
        assert daemon in end_marked(mark)
        assert not is_alive(daemon)
        assert find_marked(mark) == []


if environment.is_root():

    def test_a_process_that_is_another_one_at_each_look_is_ended() -> None:
        """It is born after the list of processes was read, and is gone before its line is reached."""
        with TemporaryDirectory() as folder:  # that another user reaches
            os.chmod(folder, 0o755)
            hops = Path(folder, "hops")
            hops.touch()
            os.chown(hops, _TENANT, _TENANT)
            for _ in range(3):
                with program(_HOPPER, user=_TENANT, group=_TENANT, env={}, cwd=folder) as started:
                    line_of(started)
                    end_marked(a_mark(hops), _TENANT)
                    after = hops.read_text()
                    assert started.stdout is not None and started.stdout.read() == ""  # whoever holds the pipe is gone
                    assert hops.read_text() == after

    def test_a_process_that_closes_itself_still_counts_as_its_users() -> None:
        with program(_HIDE, user=_TENANT, env={}) as started:
            line_of(started)
            users = {_TENANT: "partition"}
            assert started.pid in {each.pid for each in members(users, {})["partition"]}
            assert started.pid in {each.pid for each in processes(users, {})}

    def test_a_mark_of_a_user_is_not_forged_by_another_one(tmp_path: Path) -> None:
        mark = a_mark(tmp_path)
        with program(_HIDE, user=_TENANT, env={mark.name: mark.value}) as started:
            line_of(started)
            assert find_marked(mark) == find_marked(replace(mark, user=_TENANT)) == [started.pid]
            assert find_marked(replace(mark, user=_NOBODY)) == []


def test_what_is_spared_lives(tmp_path: Path) -> None:
    mark = a_mark(tmp_path)
    with program("import time; time.sleep(60)", env={mark.name: mark.value}) as started:
        assert end_marked(mark, spare=lambda pid: is_descendant(pid, os.getpid())) == []
        assert is_alive(started.pid)


def test_what_does_not_end_is_named_instead_of_waited_for_without_end(tmp_path: Path) -> None:
    """There is one more at each look, as if none had died."""
    mark = a_mark(tmp_path)
    with ExitStack() as stack:

        def one_more(pid: int) -> bool:
            script = "import time; print(flush=True); time.sleep(60)"
            line_of(stack.enter_context(program(script, env={mark.name: mark.value})))  # now it has its mark
            return False

        one_more(0)
        with pytest.raises(CommandFailed, match="do not end"):
            end_marked(mark, spare=one_more, patience=0.2)


def test_a_process_of_a_user_is_found_however_it_hides(tmp_path: Path) -> None:
    """Without a mark, and with what /proc tells of it closed. Root asks for another user, anybody else for itself."""
    user = _NOBODY if environment.is_root() else os.getuid()
    with program(_HIDE, user=user, env={}) as started:
        line_of(started)
        assert started.pid in find_marked(a_mark(tmp_path), user)
        assert started.pid not in find_marked(a_mark(tmp_path), user + 1)


def test_a_process_is_waited_for_whose_ever_it_is() -> None:
    with program("import time; time.sleep(0.2)") as started:
        assert not wait_for_end(started.pid, 0.01)
        begun = time.monotonic()
        assert wait_for_end(started.pid, 10)
        assert time.monotonic() - begun < 5
    assert wait_for_end(started.pid, 0)


def test_parents_are_known() -> None:
    with program("import time; time.sleep(60)") as started:
        assert {started.pid, os.getpid()} < ancestors_of(started.pid)
        assert not is_descendant(os.getpid(), started.pid)


def test_more_files_may_be_open() -> None:
    limits = (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    with program(
        "import time; time.sleep(60)", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    ) as started:
        allow_many_files(started.pid)
        assert resource.prlimit(started.pid, resource.RLIMIT_NOFILE)[0] > 64


def test_the_program_that_started_a_process_is_told_by_its_name() -> None:
    look = "from slap.system.processes import parent_is; print(parent_is('named-parent'), parent_is('other'))"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {look!r}])"
    done = subprocess.run(
        [sys.executable, "-c", script, "/bin/named-parent"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]
