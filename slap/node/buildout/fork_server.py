"""The fork server: imports buildout and all recipes once, and forks for each job.

A bare buildout command spends most of its time importing. A fork of this process starts where that ends. Its
argument is the descriptor of a socket. Each message on that is `ID TIMEOUT` with two descriptors: a file with the job, and
one for the answer. When a build ended this process says so, a JSON document a line. It ends, with all
that it started, when the other end is closed.

Builds run programs that nobody trusts, with a copy of this process's memory: it never reads a job or an answer, and a build
keeps no descriptor but that of its answer and of its log.
"""

import gc
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import NoReturn

from slap.node.buildout import run
from slap.node.buildout.job import BuildEnd, BuildJob, BuildResult
from slap.system import environment
from slap.system.processes import BUILD_MARK, end_stray_builds

_MAX_HEADER_BYTES = 256
_ANSWER = 3  # the descriptor of a build's answer, after stdin, stdout and stderr
_ALL_DESCRIPTORS = (1 << 31) - 1


@dataclass
class _Child:
    """A running job: its process, the file for its answer, and when it is killed."""

    id: int
    pid: int
    process: int
    answer: int
    timeout: float  # seconds
    deadline: float
    timed_out: bool = False


class ForkServer:
    """Single-threaded on purpose: a fork of a process with threads may inherit locks that nobody releases."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ)
        self._open = True

    def serve(self) -> None:
        while self._open:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._channel:
                    self._receive_job()
                else:
                    self._finish(key.data)
            self._kill_overdue()
        for child in self._children.values():
            _kill(child.pid)

    def _patience(self) -> float | None:
        waiting = [child.deadline for child in self._children.values()]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _receive_job(self) -> None:
        """Read one message with its descriptors; such messages are never merged."""
        header = b""
        with suppress(ConnectionError):  # the agent died without hearing all that we said
            header, descriptors, _, _ = socket.recv_fds(self._channel, _MAX_HEADER_BYTES, 2)
        self._open = bool(header)
        if not header:
            return
        number, timeout = header.split()
        job, answer = descriptors
        try:
            self._start(int(number), float(timeout), job, answer)
        except OSError as error:  # no process to be had
            os.close(answer)
            self._send(BuildEnd(id=int(number), reason=f"The build cannot be started: {error.strerror}."))
        finally:
            os.close(job)

    def _start(self, number: int, timeout: float, job: int, answer: int) -> None:
        pid = os.fork()
        if pid == 0:
            self._be_child(job, answer)
        child = _Child(number, pid, os.pidfd_open(pid), answer, timeout, time.monotonic() + timeout)
        self._children[pid] = child
        self._selector.register(child.process, selectors.EVENT_READ, child)

    def _be_child(self, job: int, answer: int) -> NoReturn:
        """Run a job in the forked child, without clean-ups or handlers of the parent."""
        try:
            gc.disable()
            text = os.pread(job, os.fstat(job).st_size, 0)
            self._keep_only(answer)
            result = run.run(BuildJob.model_validate_json(text))
            _write(_ANSWER, result.model_dump_json().encode())
        finally:
            os._exit(0)

    def _keep_only(self, answer: int) -> None:
        """Close all descriptors but the standard ones and the answer's; programs do not inherit that one."""
        self._channel.close()
        self._selector.close()
        os.dup2(answer, _ANSWER, inheritable=False)
        os.closerange(_ANSWER + 1, _ALL_DESCRIPTORS)

    def _finish(self, child: _Child) -> None:
        self._selector.unregister(child.process)
        del self._children[child.pid]
        os.kill(child.pid, signal.SIGKILL)
        _kill(child.pid)  # what the build started and left behind in its session, while its number is still its own
        _, status = os.waitpid(child.pid, 0)
        has_answered = os.fstat(child.answer).st_blocks > 0  # its size is always the same
        os.close(child.process)
        os.close(child.answer)
        if child.timed_out or not has_answered:  # what it had begun elsewhere cannot be ended by itself any more
            end_stray_builds(environment.variable(BUILD_MARK))
        self._send(BuildEnd(id=child.id, reason=_reason(child, status, has_answered=has_answered)))

    def _send(self, end: BuildEnd) -> None:
        with suppress(ConnectionError):
            self._channel.sendall(end.model_dump_json().encode() + b"\n")

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in [child for child in self._children.values() if now >= child.deadline]:
            child.timed_out = True
            self._finish(child)


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _kill(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _reason(child: _Child, status: int, *, has_answered: bool) -> str:
    """Why there is no answer; empty when there is one."""
    if child.timed_out:
        return f"The build took more than {child.timeout:g} s."
    if has_answered:
        return ""
    how = f"status {status >> 8}" if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}"
    return f"The build ended by {how}."


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal is for the agent, which closes the channel
    for point in entry_points(group="zc.buildout"):
        if point.value.startswith("slap."):
            point.load()
    for model in (BuildJob, BuildResult, BuildEnd):  # otherwise each build would do that anew
        model.model_rebuild()
    gc.freeze()  # who starts us has disabled it, see builder.py
    gc.enable()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        ForkServer(channel).serve()
