"""The warm builder process: has buildout and all recipes imported, and forks for each job.

A bare buildout command spends most of its time importing. A fork of this process starts where that ends. Run by the agent
as `python -m slap.node.build.zygote DESCRIPTOR`; reads jobs from that socket and writes results to it, a JSON document a line;
ends, with all that it started, when the other end is closed.
"""

import gc
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import entry_points

from slap.node.build import buildout
from slap.node.build.job import BuildJob, BuildResult, Outcome


@dataclass
class _Child:
    """A running job: its process, the pipe its result comes through, what came so far, and when it is killed."""

    job: BuildJob
    pid: int
    pipe: int
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    timed_out: bool = False


class Zygote:
    """Single-threaded on purpose: a fork of a process with threads may inherit locks that nobody releases."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._buffer = bytearray()
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ)
        self._open = True

    def serve(self) -> None:
        while self._open:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._channel:
                    self._read_jobs()
                else:
                    self._read_result(key.data)
            self._kill_overdue()
        for child in self._children.values():
            _kill(child.pid)

    def _patience(self) -> float | None:
        waiting = [child.deadline for child in self._children.values() if not child.timed_out]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _read_jobs(self) -> None:
        received = self._channel.recv(1 << 16)
        self._open = bool(received)
        self._buffer += received
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._start(BuildJob.model_validate_json(line))

    def _start(self, job: BuildJob) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._be_child(job, writer)
        os.close(writer)
        child = _Child(job, pid, reader, time.monotonic() + job.timeout)
        self._children[pid] = child
        self._selector.register(reader, selectors.EVENT_READ, child)

    def _be_child(self, job: BuildJob, writer: int) -> None:
        """Never returns: neither clean-ups nor handlers of the parent may run in the child."""
        try:
            gc.disable()
            self._channel.close()
            result = buildout.run(job)
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(result.model_dump_json().encode())
        finally:
            os._exit(0)

    def _read_result(self, child: _Child) -> None:
        if part := os.read(child.pipe, 1 << 16):
            child.received += part
            return
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        _, status = os.waitpid(child.pid, 0)
        del self._children[child.pid]
        _kill(child.pid)  # what the build started and left behind in its session
        self._answer(_result(child, status))

    def _answer(self, result: BuildResult) -> None:
        with suppress(BrokenPipeError):
            self._channel.sendall(result.model_dump_json().encode() + b"\n")

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if now >= child.deadline and not child.timed_out:
                child.timed_out = True
                _kill(child.pid)


def _kill(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _result(child: _Child, status: int) -> BuildResult:
    if child.received and not child.timed_out:
        return BuildResult.model_validate_json(bytes(child.received))
    reason = f"status {status}" if os.WIFEXITED(status) else signal.Signals(os.WTERMSIG(status)).name
    message = (
        f"The build took more than {child.job.timeout:g} s." if child.timed_out else f"The build ended by {reason}."
    )
    return BuildResult(id=child.job.id, outcome=Outcome.FAILED, message=message)


def _import_recipes() -> None:
    for point in entry_points(group="zc.buildout"):
        if point.value.startswith("slap."):
            point.load()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal is for the agent, which closes the channel
    _import_recipes()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        Zygote(channel).serve()


if __name__ == "__main__":
    main()
