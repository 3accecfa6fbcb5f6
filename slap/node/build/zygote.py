"""The warm builder process: has buildout and all recipes imported, and forks for each job.

A bare buildout command spends most of its time importing. A fork of this process starts where that ends. Run by the agent
as `python -m slap.node.build.zygote DESCRIPTOR`; reads jobs from that socket and writes results to it, a JSON document a
line; ends, with all that it started, when the other end is closed.
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

from pydantic import ValidationError

from slap.node.build import buildout
from slap.node.build.job import BuildJob, BuildResult, Outcome
from slap.system import environment
from slap.system.processes import BUILD_MARK, end_stray_builds

# A child that answers more than this is not one of ours any more: it runs whatever a release brought along.
_LONGEST_ANSWER = 8 << 20


@dataclass
class _Child:
    """A running job: its process, the pipe its result comes through, what came so far, and when it is killed.

    The job itself is not kept: its secrets would be in the memory of every child that is forked after it.
    """

    id: int
    pid: int
    pipe: int
    timeout: float
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    timed_out: bool = False

    @property
    def is_done(self) -> bool:
        """Answers end with a line end: what a build left behind may keep the pipe open for ever."""
        return self.timed_out or self.received.endswith(b"\n") or len(self.received) > _LONGEST_ANSWER


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
        waiting = [child.deadline for child in self._children.values()]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _read_jobs(self) -> None:
        received = b""
        with suppress(ConnectionError):  # the agent died without hearing all that we said
            received = self._channel.recv(1 << 16)
        self._open = bool(received)
        self._buffer += received
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            job = BuildJob.model_validate_json(line)
            try:
                self._start(job)
            except OSError as error:  # no process or pipe to be had
                message = f"The build cannot be started: {error.strerror}."
                self._answer(BuildResult(id=job.id, outcome=Outcome.FAILED, message=message))

    def _start(self, job: BuildJob) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            self._be_child(job, writer)
        os.close(writer)
        child = _Child(job.id, pid, reader, job.timeout, time.monotonic() + job.timeout)
        self._children[pid] = child
        self._selector.register(reader, selectors.EVENT_READ, child)

    def _be_child(self, job: BuildJob, writer: int) -> None:
        """Never returns: neither clean-ups nor handlers of the parent may run in the child."""
        try:
            gc.disable()
            self._let_go_of_the_others()
            result = buildout.run(job)
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(result.model_dump_json().encode() + b"\n")
        finally:
            os._exit(0)

    def _let_go_of_the_others(self) -> None:
        """A child may become a tenant: the results of other jobs are not for it to read."""
        self._channel.close()
        self._selector.close()
        for child in self._children.values():
            os.close(child.pipe)
        self._children.clear()

    def _read_result(self, child: _Child) -> None:
        part = os.read(child.pipe, 1 << 16)
        child.received += part
        if not part or child.is_done:
            self._finish(child)

    def _finish(self, child: _Child) -> None:
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        del self._children[child.pid]
        # It has nothing more to do. To wait until it ends by itself would be to trust it.
        os.kill(child.pid, signal.SIGKILL)
        _, status = os.waitpid(child.pid, 0)
        _kill(child.pid)  # what the build started and left behind in its session
        if child.timed_out or not child.received:  # what it had begun elsewhere cannot be ended by itself any more
            end_stray_builds(environment.variable(BUILD_MARK))
        self._answer(_result(child, status))

    def _answer(self, result: BuildResult) -> None:
        with suppress(ConnectionError):
            self._channel.sendall(result.model_dump_json().encode() + b"\n")

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in [child for child in self._children.values() if now >= child.deadline]:
            child.timed_out = True
            self._finish(child)


def _kill(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _result(child: _Child, status: int) -> BuildResult:
    """What a child answered, under the number that it was given, whatever it says."""
    if child.timed_out:
        message = f"The build took more than {child.timeout:g} s."
    elif child.received:
        try:
            return BuildResult.model_validate_json(bytes(child.received)).model_copy(update={"id": child.id})
        except ValidationError:
            message = "The build broke off while it told its result."
    else:
        reason = f"status {status >> 8}" if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}"
        message = f"The build ended by {reason}."
    return BuildResult(id=child.id, outcome=Outcome.FAILED, message=message)


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
