"""Processes as /proc shows them: found by a mark in their environment or by their user, and ended."""

import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from slap.model.errors import CommandFailed
from slap.system.host.proc import (
    NODE_MARK,
    PARTITION_MARK,
    all_pids,
    ancestors_of,
    is_alive,
    is_descendant,
    is_of,
    read_file,
    read_raw_environment,
    wait_for_end,
)

__all__ = [
    "BUILD_MARK", "NODE_MARK", "PARTITION_MARK", "Mark", "allow_many_files", "ancestors_of", "end_marked",
    "end_stray_builds", "find_marked", "is_alive", "is_descendant", "parent_is", "return_freed_memory", "wait_for_end",
]  # fmt: skip

# Some programs close all that they could have open, one by one, so not without a limit.
_MANY_FILES = 1 << 16
# mallopt(3); blocks from this size on are mapped by themselves.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 128 << 10
_ARENAS = 2
# A user id that nobody has, so that nobody can end a process by it.
_NO_USER = (1 << 31) - 47
# What builds start carries this, so that it is found when its builder was killed.
BUILD_MARK = "SLAPOS_BUILDER"


@dataclass(frozen=True)
class Mark:
    """NAME=VALUE in a process's environment; with a `user`, what others carry of it is forged and does not count."""

    name: str
    value: str
    user: int | None = None

    def is_in(self, environment: bytes) -> bool:
        return f"\0{self.name}={self.value}\0".encode() in b"\0" + environment + b"\0"


def find_marked(mark: Mark, user: int | None = None) -> list[int]:
    """Live processes with a mark, and those of a user when one is given (a tenant may clear its environment)."""
    return [pid for pid in all_pids() if pid != os.getpid() and _belongs(pid, mark, user)]


def end_marked(
    mark: Mark, user: int | None = None, spare: Callable[[int], bool] | None = None, patience: float = 10.0
) -> list[int]:
    """Kill what carries a mark until nothing is left that does; returns what was killed of what could be seen.

    As root, all processes of the `user` are killed at one instant first: those that fork and end again and again have
    another number at each look, and would never be seen.
    Raises CommandFailed for what does not die: a process that hangs in the kernel cannot be waited for without end.
    """
    killed = find_marked(mark, user) if user else []
    _kill_user(user)
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


def allow_many_files(pid: int) -> None:
    """As many open files as the system lets a process have, within reason."""
    now, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if most == resource.RLIM_INFINITY else min(most, _MANY_FILES)
    if now < wanted:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (wanted, most))


def return_freed_memory() -> None:
    """Have this process, and what it forks, give memory back to the system as soon as it is freed.

    By default glibc keeps what was large once: it raises the size from which a block is mapped by itself to that of the
    largest one that was freed, and has eight pools for each processor, each of which keeps its own.
    """
    try:
        configure = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library, which has habits of its own
        return
    configure(_M_ARENA_MAX, _ARENAS)
    configure(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    configure(_M_TRIM_THRESHOLD, 2 * _LARGE_BYTES)


def parent_is(program: str) -> bool:
    """Whether a program of this name started this process and still lives: whoever outlives its parent is given another."""
    words = read_file(os.getppid(), "cmdline").split(b"\0")
    return any(word.rpartition(b"/")[2] == program.encode() for word in words)


def _kill_user(user: int | None) -> None:
    """As root, kill all processes of another user by one call: the kernel lets none of them fork meanwhile (kill(2), -1).

    The process that does it has that user's rights, but is no process of that user: nobody can kill it first.
    """
    if not user or os.geteuid() != 0:
        return
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(_NO_USER, user, _NO_USER)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _belongs(pid: int, mark: Mark, user: int | None) -> bool:
    if user is not None and is_of(pid, user):
        return is_alive(pid)
    is_marked = mark.is_in(read_raw_environment(pid)) and (mark.user is None or is_of(pid, mark.user))
    return is_marked and is_alive(pid)
