"""Processes as /proc shows them: found by a mark in their environment or by their user, and ended."""

import errno
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slap.model.errors import CommandFailed

# Some programs close all that they could have open, one by one, so not without a limit.
_MANY_FILES = 1 << 16
# Every process that a node starts carries these, and so does all that it starts in turn, daemons included.
NODE_MARK = "SLAPOS_NODE_ROOT"
PARTITION_MARK = "SLAPOS_PARTITION"
# And this what builds start, so that it is found when its builder was killed.
BUILD_MARK = "SLAPOS_BUILDER"


@dataclass(frozen=True)
class Mark:
    """NAME=VALUE in a process's environment."""

    name: str
    value: str

    def is_in(self, environment: bytes) -> bool:
        return f"\0{self.name}={self.value}\0".encode() in b"\0" + environment + b"\0"


def find_marked(mark: Mark, user: int | None = None) -> list[int]:
    """Live processes with a mark, and those of a user when one is given (a tenant may clear its environment)."""
    return [pid for pid in _pids() if pid != os.getpid() and _belongs(pid, mark, user)]


def end_marked(
    mark: Mark, user: int | None = None, spare: Callable[[int], bool] | None = None, patience: float = 10.0
) -> list[int]:
    """Kill what carries a mark until nothing is left that does; returns what was killed.

    Raises CommandFailed for what does not die: a process that hangs in the kernel cannot be waited for without end.
    """
    killed: list[int] = []
    deadline = time.monotonic() + patience
    while found := [pid for pid in find_marked(mark, user) if not (spare and spare(pid))]:
        if time.monotonic() > deadline:
            raise CommandFailed(f"Processes do not end: {', '.join(map(str, found))}.", f"{mark.name}={mark.value}")
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:  # they die side by side
            wait_for_end(pid, max(0.0, deadline - time.monotonic()))
        killed += found
    return killed


def end_stray_builds(root: str) -> None:
    """Kill what builds of a node started, unless it descends from this process. What hangs in the kernel is left alone."""
    with suppress(CommandFailed):
        end_marked(Mark(BUILD_MARK, root), spare=lambda pid: is_descendant(pid, os.getpid()))


def wait_for_end(pid: int, seconds: float) -> bool:
    """Wait until a process is gone, ours or not; whether it is."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):  # EINVAL: the process id is only that of a thread by now
            return True
        raise
    try:
        waiting = select.poll()  # unlike select(), for any number of open files
        waiting.register(descriptor, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def allow_many_files(pid: int) -> None:
    """As many open files as the system lets a process have, within reason."""
    now, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if most == resource.RLIM_INFINITY else min(most, _MANY_FILES)
    if now < wanted:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (wanted, most))


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return _state(pid) not in ("", "Z", "X")


def ancestors_of(pid: int) -> set[int]:
    """A process, its parent, and so on up."""
    seen: set[int] = set()
    while pid > 1 and pid not in seen:
        seen.add(pid)
        pid = _parent(pid)
    return seen


def parent_is(program: str) -> bool:
    """Whether a program of this name started this process and still lives: whoever outlives its parent is given another."""
    words = _read(os.getppid(), "cmdline").split(b"\0")
    return any(word.rpartition(b"/")[2] == program.encode() for word in words)


def is_descendant(pid: int, ancestor: int) -> bool:
    return ancestor in ancestors_of(pid)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _belongs(pid: int, mark: Mark, user: int | None) -> bool:
    return (_is_of(pid, user) or mark.is_in(_read(pid, "environ"))) and is_alive(pid)


def _is_of(pid: int, user: int | None) -> bool:
    """By any of its four user ids: one that runs a set-uid program is still its user's."""
    if user is None:
        return False
    ids = next((line.split()[1:] for line in _read(pid, "status").splitlines() if line.startswith(b"Uid:")), [])
    return str(user).encode() in ids


def _read(pid: int, name: str) -> bytes:
    """A file of /proc/PID; empty for a process that is gone or that we may not look into."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return b""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may itself hold spaces and parentheses (proc(5))."""
    return _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0
