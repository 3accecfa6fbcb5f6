"""Processes as /proc shows them: found by a mark in their environment or by their user, and ended."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Every process that a node starts carries these, and so does all that it starts in turn, daemons included.
NODE_MARK = "SLAPOS_NODE_ROOT"
PARTITION_MARK = "SLAPOS_PARTITION"


@dataclass(frozen=True)
class Mark:
    """NAME=VALUE in a process's environment."""

    name: str
    value: str

    def is_in(self, environment: bytes) -> bool:
        return f"{self.name}={self.value}\0".encode() in b"\0" + environment + b"\0"


def find_marked(mark: Mark, user: int | None = None) -> list[int]:
    """Live processes with a mark, and those of a user when one is given (a tenant may clear its environment)."""
    return [pid for pid in _pids() if pid != os.getpid() and _belongs(pid, mark, user)]


def end_marked(mark: Mark, user: int | None = None, spare: Callable[[int], bool] | None = None) -> list[int]:
    """Kill what carries a mark until nothing is left that does; returns what was killed."""
    killed: list[int] = []
    while found := [pid for pid in find_marked(mark, user) if not (spare and spare(pid))]:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_for_end(pid, 5)
        killed += found
    return killed


def wait_for_end(pid: int, seconds: float) -> bool:
    """Wait until a process is gone, ours or not; whether it is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


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


def is_descendant(pid: int, ancestor: int) -> bool:
    return ancestor in ancestors_of(pid)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _belongs(pid: int, mark: Mark, user: int | None) -> bool:
    try:
        marked = mark.is_in(Path(f"/proc/{pid}/environ").read_bytes())
        owned = user is not None and os.stat(f"/proc/{pid}").st_uid == user
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return False
    return (marked or owned) and is_alive(pid)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may itself hold spaces and parentheses (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0
