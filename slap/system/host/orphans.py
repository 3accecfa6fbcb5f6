"""Processes that a supervised program leaves behind: found among supervisord's own children, and ended.

supervisord is the subreaper of all that it starts (prctl(2)), so a process whose parent ended becomes its child: there
are few to look through. Each run of a program carries a mark of its own in its environment. An orphan whose run is over
is killed. Only children of supervisord are killed, whose process ids are nobody else's before supervisord reaps them;
what they had started becomes supervisord's child in turn, and is found next.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

from slap.system.host.proc import (
    NODE_MARK,
    PARTITION_MARK,
    children_of,
    is_alive,
    is_of,
    read_environment,
    started_at,
    wait_for_end,
)

RUN_MARK = "SLAPOS_RUN"

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
# Seconds during which a run that ended is remembered, so that what hid from its parents is told from others' children.
_REMEMBERED_SECONDS = 15.0
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
# Seconds that a new run waits for what the run before it left.
_WAIT_SECONDS = 5.0


def become_subreaper() -> None:
    """Be the parent of all descendants that lose theirs. Raises OSError where the kernel refuses."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "supervisord cannot adopt orphans")


@dataclass(frozen=True)
class Run:
    """One start of a program. `user` is the Unix user that nobody else's programs run as, None where there is none."""

    program: str
    number: int
    user: int | None = None
    started: float = 0.0  # seconds since the machine started

    @property
    def mark(self) -> str:
        return f"{self.program}:{self.number}"


@dataclass
class Orphans:
    """The runs that go on, by program, those that ended lately, and the process ids of supervised programs."""

    parent: int
    supervised: Callable[[], Collection[int]]
    now: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    _running: dict[str, Run] = field(default_factory=dict)
    _ended: list[tuple[Run, float]] = field(default_factory=list)
    _count: int = 0

    def begin(self, program: str, user: int | None) -> Run:
        """A new run of a program is about to start."""
        self.end(program)
        self._count += 1
        run = self._running[program] = Run(program, self._count, user, self.now())
        return run

    def running(self, program: str) -> Run:
        return self._running[program]

    def end(self, program: str) -> None:
        """The run of a program is over; what it left is to be ended."""
        if run := self._running.pop(program, None):
            self._ended.append((run, self.now()))

    def sweep(self) -> list[int]:
        """Kill the orphans of runs that are over; returns which."""
        self._ended = [(run, at) for run, at in self._ended if self.now() - at < _REMEMBERED_SECONDS]
        found = [pid for pid in self._orphans() if self._is_left(pid)]
        for pid in found:
            _kill(pid)
        return found

    def wait(self, run: Run) -> None:
        """In the process that is about to be a run: end what the runs of the same program before it left.

        What is known here of other programs grows old, so they are left alone.
        """
        deadline = time.monotonic() + _WAIT_SECONDS
        while (found := [pid for pid in self._orphans() if _is_former(pid, run)]) and time.monotonic() < deadline:
            for pid in found:
                _kill(pid)
            for pid in found:
                wait_for_end(pid, max(0.0, deadline - time.monotonic()))

    def _orphans(self) -> list[int]:
        supervised = self.supervised()
        return [pid for pid in children_of(self.parent) if pid not in supervised]

    def _is_left(self, pid: int) -> bool:
        """Whether the run that an orphan comes from is over.

        One that cleared its environment shows no run: it is taken for one of those that ended lately, if it runs as the
        same user and began later.
        """
        variables = read_environment(pid)
        if mark := variables.get(RUN_MARK):
            return mark not in {run.mark for run in self._running.values()} and is_alive(pid)
        if variables.keys() & {PARTITION_MARK, NODE_MARK} or not is_alive(
            pid
        ):  # started by the agent, as cron jobs are
            return False
        born = started_at(pid) + _TICK_SECONDS  # the kernel rounds it down
        return any(run.user is not None and run.started <= born and is_of(pid, run.user) for run, _ in self._ended)


def _is_former(pid: int, run: Run) -> bool:
    mark = read_environment(pid).get(RUN_MARK, "")
    return mark != run.mark and mark.rpartition(":")[0] == run.program and is_alive(pid)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
