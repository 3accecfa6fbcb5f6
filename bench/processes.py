"""What /proc says of a process and of all that it started: processor time and memory, without help from anybody."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


def descendants(ancestor: int) -> Iterator[int]:
    """The living processes below one, zombies included, in no particular order."""
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        children.setdefault(_parent(pid), []).append(pid)
    waiting = [ancestor]
    while waiting:
        below = children.get(waiting.pop(), [])
        waiting += below
        yield from below


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, threads that ended included, and of its children that were waited for."""
    fields = _stat(pid)
    if not fields:
        return 0.0
    reaped = (int(fields[13]) + int(fields[14])) * TICK
    try:
        own = time.clock_gettime((~pid << 3) | 2)  # the process's own clock (CPUCLOCK_SCHED), in nanoseconds
    except OSError:
        own = (int(fields[11]) + int(fields[12])) * TICK
    return own + reaped


def proportional_memory(pid: int) -> int:
    """Bytes of memory, where what is shared by n processes counts a n-th in each of them (PSS)."""
    for line in _read(pid, "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def command_line(pid: int) -> str:
    return _read(pid, "cmdline").replace("\0", " ").strip()


def is_alive(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat from the third field on: the second one, the name, may hold spaces and brackets."""
    return _read(pid, "stat").rpartition(")")[2].split()


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:  # it ended in the meantime, or is not ours
        return ""
