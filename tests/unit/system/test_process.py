"""Programs are started without a shell, and whatever they start ends with them."""

import os
import pwd
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import CommandFailed
from slap.system import environment
from slap.system.process import Command, Completed, SystemRunner, kill_session, start_daemon

RUNNER = SystemRunner()
CLEAN = {"PATH": environment.CLEAN_PATH}


def _sh(script: str, **options: Any) -> Command:
    return Command(("/bin/sh", "-c", script), **options)


@pytest.mark.parametrize("launcher", ["", "setsid "])
def test_a_timeout_ends_the_program_and_does_not_wait_for_its_children(tmp_path: Path, launcher: str) -> None:
    """A child in a session of its own keeps our pipe open; it must not keep us."""
    script = f"echo before; {launcher}sh -c 'echo $$ >{tmp_path}/child; exec sleep 60' & sleep 60"
    started = time.monotonic()
    done = RUNNER.run(_sh(script, timeout=0.5))
    assert done.status == 124
    assert done.stderr.endswith("killed after 0.5 s")
    assert time.monotonic() - started < 10
    child = int((tmp_path / "child").read_text())
    if launcher:
        kill_session(child)
    else:
        _wait_until_gone(child)
        assert done.stdout == "before\n"


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(CommandFailed) as caught:
        RUNNER.run(Command(("/nowhere/program", "--option")))
    assert caught.value.brief == "/nowhere/program could not be started: No such file or directory."
    assert "--option" in caught.value.details


def test_a_log_gets_everything_and_keeps_what_it_had(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    done = RUNNER.run(_sh("echo out; echo err >&2; exit 3", log=log))
    assert (done.status, done.stdout, done.stderr) == (3, "", "")
    assert log.read_text() == "before\nout\nerr\n"


def test_stdin_is_what_was_given_or_empty() -> None:
    assert RUNNER.run(Command(("cat",), stdin="héllo\n" * 100_000)).stdout == "héllo\n" * 100_000
    assert RUNNER.run(Command(("cat",), timeout=5)) == Completed(Command(("cat",), timeout=5), 0)


def test_a_program_may_leave_its_input_unread() -> None:
    assert RUNNER.run(Command(("true",), stdin="x" * 1_000_000)).status == 0


def test_arguments_are_never_read_by_a_shell() -> None:
    hostile = "$(id); `id` && a'b\"c *"
    assert RUNNER.run(Command(("printf", "%s", hostile))).stdout == hostile


def test_the_environment_and_the_folder_are_those_given(tmp_path: Path) -> None:
    done = RUNNER.run(Command(("/usr/bin/env",), env={"ONLY": "this"}, cwd=tmp_path))
    assert done.stdout == "ONLY=this\n"
    assert RUNNER.run(Command(("pwd",), cwd=tmp_path)).stdout.strip() == str(tmp_path)


def test_output_that_is_no_text_is_no_error() -> None:
    assert RUNNER.run(Command(("printf", r"a\377b"))).stdout == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize(
    ("script", "brief"),
    [
        ("echo why >&2; exit 7", "/bin/sh failed with status 7."),
        ("echo why; kill -TERM $$", "/bin/sh was killed by SIGTERM."),
        ("echo why; kill -40 $$", "/bin/sh was killed by signal 40."),
        ("echo why >&2; sleep 60", "/bin/sh ran out of time."),
    ],
)
def test_a_failure_says_how_it_ended_and_what_the_program_said(script: str, brief: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        RUNNER.run(_sh(script, timeout=1)).check()
    assert caught.value.brief == brief
    assert "why" in caught.value.details


def test_root_runs_programs_as_somebody_else_and_others_cannot() -> None:
    nobody = pwd.getpwnam("nobody")
    command = _sh("id -u; id -G", user=nobody.pw_uid, group=nobody.pw_gid)
    if environment.is_root():
        assert RUNNER.run(command).stdout == f"{nobody.pw_uid}\n{nobody.pw_gid}\n"
    else:
        with pytest.raises(CommandFailed, match="Operation not permitted"):
            RUNNER.run(command)


def test_a_daemon_has_a_session_of_its_own_and_logs(tmp_path: Path) -> None:
    code = "import os, time; print(os.getsid(0), flush=True); time.sleep(60)"
    daemon = start_daemon([sys.executable, "-c", code], CLEAN, tmp_path, tmp_path / "log")
    try:
        _wait_for(lambda: (tmp_path / "log").read_text() == f"{daemon}\n")
    finally:
        kill_session(daemon)
        _reap(daemon)


def test_killing_what_is_gone_does_nothing() -> None:
    daemon = start_daemon(["true"], CLEAN, Path("/"), Path("/dev/null"))
    _reap(daemon)
    kill_session(daemon)


def _reap(daemon: int) -> None:
    """The subprocess module may have been quicker: it reaps what it started whenever it starts something else."""
    with suppress(ChildProcessError):
        os.waitpid(daemon, 0)


def _wait_until_gone(pid: int) -> None:
    """Killed, and reaped by whoever inherits orphans here; one that is only not reaped yet is gone, too."""
    status = Path(f"/proc/{pid}/stat")
    _wait_for(lambda: not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z")


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
