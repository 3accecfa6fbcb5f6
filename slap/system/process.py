"""The one place that starts programs: no shell, explicit environment, output captured or logged, always reaped."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

from slap.model.errors import CommandFailed
from slap.system.host.launch import UNLIMITED, LaunchLimits
from slap.system.pipes import Listening

# Seconds to read what is left in the pipes of a program that was killed.
_LAST_WORDS = 2.0
_FOR_EVER = 10 * 365 * 86400.0


@dataclass(frozen=True)
class Command:
    """A program to run. `env` is the whole environment; None means ours. `log` gets stdout and stderr when it is set.

    Of each stream of a program that is not trusted, at most `longest` bytes are kept; such a one gets no stdin.
    """

    argv: tuple[str, ...]
    cwd: Path | None = None
    env: Mapping[str, str] | None = None
    stdin: str = ""
    log: Path | None = None
    timeout: float | None = None  # seconds
    longest: int | None = None
    user: int | None = None
    group: int | None = None
    limits: LaunchLimits = UNLIMITED  # of its resources and its cgroup


@dataclass(frozen=True)
class Completed:
    """How a program ended; `status` is negative when a signal killed it, and 124 when it ran out of time."""

    command: Command
    status: int
    stdout: str = ""
    stderr: str = ""

    def check(self) -> "Completed":
        """Raise CommandFailed unless the program succeeded."""
        if self.status == 0:
            return self
        words = " ".join(self.command.argv)
        tail = (self.stderr or self.stdout).strip()
        raise CommandFailed(
            f"{self.command.argv[0]} {_how_it_ended(self.status)}.", f"Command: {words}\n{tail}".strip()
        )


class Child(Protocol):
    """A program of ours that runs beside us."""

    pid: int

    def wait(self) -> int: ...

    def kill(self) -> None: ...

    def poll(self) -> int | None: ...


class Runner(Protocol):
    """Runs programs to their end."""

    def run(self, command: Command) -> Completed: ...


class SystemRunner:
    """Runs programs for real, each in a session of its own, so that a time-out kills whatever it had started too."""

    def run(self, command: Command) -> Completed:
        try:
            with command.log.open("ab") if command.log else nullcontext() as log:
                return _wait(command, _start(command, log))
        except OSError as error:
            raise CommandFailed(
                f"{command.argv[0]} could not be started: {error.strerror}.", f"Command: {' '.join(command.argv)}"
            ) from error
        except ValueError as error:  # a zero byte, or a variable without a name
            raise CommandFailed(f"{command.argv[0]!r} cannot be started: {error}.") from error


@dataclass
class FakeRunner:
    """Remembers what it was asked to run, and answers from a table by the program's name."""

    answers: Mapping[str, Completed] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)

    def run(self, command: Command) -> Completed:
        self.commands.append(command)
        answer = self.answers.get(Path(command.argv[0]).name)
        return Completed(command, answer.status, answer.stdout, answer.stderr) if answer else Completed(command, 0)


def start_daemon(argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path) -> int:
    """Start a program that outlives us, detached from our terminal and session; its process id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(argv), env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    return process.pid


def become(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Be another program from now on."""
    os.execve(argv[0], list(argv), dict(env))


def start_child(argv: Sequence[str], env: Mapping[str, str], pass_fds: Sequence[int]) -> Child:
    """Start a helper of ours that shares file descriptors with us and must not outlive us for long."""
    return subprocess.Popen(list(argv), env=dict(env), stdin=subprocess.DEVNULL, pass_fds=tuple(pass_fds))


def _start(command: Command, log: BinaryIO | None) -> "subprocess.Popen[str]":
    argv, env = _limited(command)
    process = subprocess.Popen(
        argv,
        cwd=command.cwd,
        env=env,
        stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
        stdout=log or subprocess.PIPE,
        stderr=subprocess.STDOUT if log else subprocess.PIPE,
        user=command.user,
        group=command.group,
        extra_groups=None if command.user is None else (),
        start_new_session=True,
        text=True,
        errors="replace",
    )
    command.limits.place(process.pid)
    return process


def _limited(command: Command) -> tuple[tuple[str, ...], dict[str, str] | None]:
    """The words and the environment by which a command runs within its limits.

    Variables of the loader are for the command alone: no code of theirs runs before it is limited.
    """
    env, prefix = None if command.env is None else dict(command.env), command.limits.prefix()
    loader = [name for name in env or {} if prefix and name.startswith("LD_")]
    if env and loader:
        prefix = (*prefix, "/usr/bin/env", "--", *(f"{name}={env.pop(name)}" for name in loader))
    return (*prefix, *command.argv), env


def _wait(command: Command, process: "subprocess.Popen[str]") -> Completed:
    try:
        if command.longest is not None:
            return _listen(command, process, command.longest)
        stdout, stderr = process.communicate(command.stdin or None, timeout=command.timeout)
        return Completed(command, process.returncode, stdout or "", stderr or "")
    except subprocess.TimeoutExpired:
        kill_session(process.pid)
        stdout, stderr = _what_it_said(process)
        return Completed(command, 124, stdout, f"{stderr}killed after {command.timeout:g} s")
    finally:
        if process.returncode is None:  # we are interrupted ourselves
            kill_session(process.pid)
            process.wait()


def _listen(command: Command, process: "subprocess.Popen[str]", longest: int) -> Completed:
    """Wait for a program that is not trusted."""
    listening = Listening([pipe for pipe in (process.stdout, process.stderr) if pipe], longest)
    deadline = time.monotonic() + (command.timeout or _FOR_EVER)
    in_time = listening.until(deadline) and _ended(process, deadline)
    if not in_time:
        kill_session(process.pid)
        process.wait()
        listening.until(time.monotonic() + 0.1)
    stdout, stderr = [*listening.texts(), "", ""][:2]
    listening.close()
    if in_time:
        return Completed(command, process.returncode, stdout, stderr)
    return Completed(command, 124, stdout, f"{stderr}killed after {command.timeout:g} s")


def _ended(process: "subprocess.Popen[str]", deadline: float) -> bool:
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _what_it_said(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """The output of a killed program; one that it started in a session of its own may hold the pipes open for ever."""
    try:
        stdout, stderr = process.communicate(timeout=_LAST_WORDS)
    except subprocess.TimeoutExpired:
        return "", ""
    return stdout or "", stderr or ""


def kill_session(leader: int) -> None:
    """Kill a session leader with all of its process group; nothing happens when it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _how_it_ended(status: int) -> str:
    if status == 124:
        return "ran out of time"
    return f"was killed by {_signal(-status)}" if status < 0 else f"failed with status {status}"


def _signal(number: int) -> str:
    """The name of a signal; most of the real-time ones have none."""
    return next((known.name for known in signal.Signals if known == number), f"signal {number}")
