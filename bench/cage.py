"""A cage holds everything that one side starts, daemons included: it counts their processor time and ends them all.

A cage is a process of its own that is the "subreaper" of what runs in it: a daemon that detaches itself is given to the
cage, not to init, so nothing escapes being counted and nothing is left behind. Processor time is exact: what was waited
for is in the cage's RUSAGE_CHILDREN, what lives is read from /proc.
"""

import ctypes
import multiprocessing
import os
import resource
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import processes

PR_SET_CHILD_SUBREAPER = 36
LONGEST = 1800.0  # no single command takes longer than this, in seconds
GRACE = 10.0  # between being asked to end and being killed


class CommandFailed(Exception):
    """A command of one side failed; the message says which, and holds the end of its output."""


@dataclass(frozen=True)
class Program:
    """What to run: `log` gets its output, `env` is the whole environment."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path


class Cage:
    """The outer end: each method is carried out within the cage. `services` is what marks the command line of a payload,
    which is not counted as memory of the side's own. To watch for peaks of memory costs processor time of its own."""

    def __init__(self, services: str, watch: bool = True) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, inner = context.Pipe()
        self._process = context.Process(target=_live, args=(inner, self._pipe, services, watch))
        self._process.start()
        inner.close()

    def run(self, program: Program) -> float:
        """Run to the end; how many seconds it took."""
        seconds, status = self._ask("run", program)
        if status:
            tail = program.log.read_text(errors="replace").splitlines()[-25:]
            raise CommandFailed("\n".join([f"status {status}: {' '.join(program.argv)}", *tail]))
        return float(seconds)

    def start(self, program: Program) -> int:
        """Start a daemon; its process id."""
        return int(self._ask("start", program))

    def end(self, pid: int) -> None:
        """End one daemon, and wait until it is gone."""
        self._ask("end", pid)

    def cpu(self) -> float:
        """Seconds of processor time that everything in the cage took so far."""
        return float(self._ask("cpu"))

    def memory(self) -> int:
        """Bytes of memory (PSS) of everything in the cage but the services."""
        return int(self._ask("memory"))

    def services_memory(self) -> int:
        """Bytes of memory (PSS) of the services alone."""
        return int(self._ask("services_memory"))

    def peak_memory(self) -> int:
        """The most that `memory` was since this was last asked, looked at four times a second."""
        return int(self._ask("peak_memory"))

    def close(self) -> None:
        """End everything in the cage, and the cage."""
        with suppress(BrokenPipeError, EOFError):
            self._pipe.send(None)
        self._process.join(GRACE * 3)
        self._pipe.close()

    def _ask(self, method: str, *arguments: Any) -> Any:
        self._pipe.send((method, *arguments))
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class _Inside:
    """The inner end."""

    services: str
    statuses: dict[int, int] = field(default_factory=dict)
    peak: int = 0

    def run(self, program: Program) -> tuple[float, int]:
        began = time.perf_counter()
        pid = self.start(program)
        self._wait(pid, LONGEST)
        return time.perf_counter() - began, self.statuses.pop(pid)

    def start(self, program: Program) -> int:
        program.log.parent.mkdir(parents=True, exist_ok=True)
        with program.log.open("ab") as log:
            process = subprocess.Popen(
                program.argv, env=program.env, cwd=program.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        process.returncode = 0  # it is waited for here, not by subprocess
        return process.pid

    def end(self, pid: int) -> None:
        os.kill(pid, signal.SIGTERM)
        try:
            self._wait(pid, GRACE)
        except CommandFailed:
            os.kill(pid, signal.SIGKILL)
            self._wait(pid, GRACE)

    def cpu(self) -> float:
        self._reap()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        living = sum(processes.cpu_seconds(pid) for pid in processes.descendants(os.getpid()))
        return used.ru_utime + used.ru_stime + living

    def memory(self) -> int:
        return self._memory(of_services=False)

    def services_memory(self) -> int:
        return self._memory(of_services=True)

    def _memory(self, of_services: bool) -> int:
        return sum(
            processes.proportional_memory(pid)
            for pid in processes.descendants(os.getpid())
            if (self.services in processes.command_line(pid)) == of_services
        )

    def peak_memory(self) -> int:
        peak, self.peak = max(self.peak, self.memory()), 0
        return peak

    def watch_memory(self) -> None:
        while True:
            self.peak = max(self.peak, self.memory())
            time.sleep(0.25)

    def empty(self) -> None:
        """First ask, then kill, until nothing is left."""
        for kill, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
            deadline = time.perf_counter() + patience
            while self._signal_all(kill) and time.perf_counter() < deadline:
                self._reap(wait=0.1)

    def _signal_all(self, number: int) -> bool:
        self._reap()
        living = list(processes.descendants(os.getpid()))
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return bool(living)

    def _wait(self, pid: int, patience: float) -> None:
        """Until a child of ours has ended, and its status is known."""
        if pid not in self.statuses:
            descriptor = os.pidfd_open(pid)
            ended = select.select([descriptor], [], [], patience)[0]
            os.close(descriptor)
            if not ended:
                raise CommandFailed(f"process {pid} took longer than {patience:g} s")
        self._reap()

    def _reap(self, wait: float = 0) -> None:
        time.sleep(wait)
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self.statuses[ended[0]] = os.waitstatus_to_exitcode(ended[1])


def _live(pipe: Connection, outer: Connection, services: str, watch: bool) -> None:
    """Serve the outer end until it says so, or is gone; ^C is the outer end's business."""
    outer.close()
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    inside = _Inside(services)
    if watch:
        threading.Thread(target=inside.watch_memory, daemon=True).start()
    try:
        _serve(pipe, inside)
    finally:
        inside.empty()


def _serve(pipe: Connection, inside: _Inside) -> None:
    with suppress(EOFError, BrokenPipeError):
        while call := pipe.recv():
            pipe.send(_answer(getattr(inside, call[0]), call[1:]))


def _answer(method: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    try:
        return method(*arguments)
    except (OSError, CommandFailed) as error:
        return error
