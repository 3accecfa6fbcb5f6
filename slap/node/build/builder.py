"""The agent's side of the warm builder process: jobs go out, results come back, a dead builder is replaced."""

import itertools
import socket
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from slap.node.build.job import BuildJob, BuildResult, Outcome
from slap.system import environment, process
from slap.system.processes import BUILD_MARK, NODE_MARK, end_stray_builds

_ATTEMPTS = 2
# Of single passes, see slap/node/passes.py.
ROLES = (":software", ":instance")


class Builder(Protocol):
    """Runs buildout. `build` fills in the job's number and returns when the job ended, however it did."""

    def build(self, job: BuildJob) -> BuildResult: ...
    def close(self) -> None: ...


class WarmBuilder:
    """Starts the warm process at the first job. Safe to use from several threads.

    Builders with a `role` work side by side; the one without works when no other does, and ends what they left behind.
    """

    def __init__(self, root: Path, role: str = "") -> None:
        self._root = str(root)
        self._role = role
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[socket.socket, Future[BuildResult | None]]] = {}
        self._channel: socket.socket | None = None
        self._child: process.Child | None = None
        self._closed = False

    def build(self, job: BuildJob) -> BuildResult:
        """A builder that was killed took its jobs with it through no fault of theirs: they are begun once more."""
        for _ in range(_ATTEMPTS):
            if result := self._attempt(job):
                return result
        return BuildResult(id=0, outcome=Outcome.FAILED, message="The builder process was killed.")

    def _attempt(self, job: BuildJob) -> BuildResult | None:
        numbered = job.model_copy(update={"id": next(self._numbers)})
        future: Future[BuildResult | None] = Future()
        with self._lock:
            if self._closed:
                return None
            self._send(numbered, future)
        return future.result()

    def warm_up(self) -> None:
        """Start the process before the first job needs it."""
        with self._lock:
            self._connected()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._channel:
                self._channel.shutdown(socket.SHUT_RDWR)

    def _send(self, job: BuildJob, future: Future[BuildResult | None]) -> None:
        line = job.model_dump_json().encode() + b"\n"
        try:
            self._send_to(self._connected(), line, job.id, future)
        except ConnectionError:
            self._channel = None
            self._send_to(self._connected(), line, job.id, future)

    def _send_to(self, channel: socket.socket, line: bytes, number: int, future: Future[BuildResult | None]) -> None:
        """Known as waiting before it is sent, for the answer may be quick."""
        self._waiting[number] = channel, future
        try:
            channel.sendall(line)
        except OSError:
            del self._waiting[number]
            raise

    def _connected(self) -> socket.socket:
        if self._channel is None:
            self._end_strays()
            self._channel, theirs = socket.socketpair()
            argv = [sys.executable, "-P", "-m", "slap.node.build.zygote", str(theirs.fileno())]
            marked = environment.clean(Path("/"), {NODE_MARK: self._root, BUILD_MARK: self._root + self._role})
            self._child = process.start_child(argv, marked, [theirs.fileno()])
            theirs.close()
            threading.Thread(target=self._read, args=(self._channel, self._child), name="builder", daemon=True).start()
        return self._channel

    def _end_strays(self) -> None:
        """What the builder before started. It is closed before it is gone, and only then are its builds nobody's."""
        if self._child:
            self._child.wait()
        for role in {"", self._role} if self._role else ("", *ROLES):
            end_stray_builds(self._root + role)

    def _read(self, channel: socket.socket, child: process.Child) -> None:
        try:
            with channel.makefile("rb") as lines:
                for line in lines:
                    self._answer(BuildResult.model_validate_json(line))
        except OSError:
            pass  # it ended with a job of ours unread
        finally:
            child.wait()
            self._give_up(channel)

    def _answer(self, result: BuildResult) -> None:
        """Without the lock: whoever holds it may be waiting for the builder to read."""
        _, future = self._waiting.pop(result.id)
        future.set_result(result)

    def _give_up(self, channel: socket.socket) -> None:
        """The builder died, and its jobs with it; the next job starts a new one."""
        with self._lock:
            lost = [number for number, (theirs, _) in list(self._waiting.items()) if theirs is channel]
            futures = {number: self._waiting.pop(number)[1] for number in lost}
            self._channel = None if self._channel is channel else self._channel
            channel.close()
        for future in futures.values():
            future.set_result(None)
