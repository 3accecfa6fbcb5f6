"""The agent's side of the fork server: send jobs, receive results, replace a server that died."""

import fcntl
import itertools
import os
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from slap.node.buildout.job import BuildEnd, BuildJob, BuildResult, Outcome
from slap.node.core.accounts import Account
from slap.node.core.logs import log_refusal
from slap.system import environment, process
from slap.system.host.launch import UNLIMITED, LaunchLimits
from slap.system.processes import BUILD_MARK, NODE_MARK, end_stray_builds

# Modules make many objects and next to no garbage: looking for it meanwhile takes a fifth of the time of the start.
_START = "import gc; gc.disable(); from slap.node.buildout.fork_server import main; main()"
BUILDS = "builds"  # all builds of a node, where partitions are named
_ATTEMPTS = 2
_MAX_ANSWER_BYTES = 8 << 20
_MAX_PLACE_LENGTH = 200  # characters of the place of a fault
# Of single passes, see slap/node/passes.py.
ROLES = (":software", ":instance")


class Builder(Protocol):
    """Runs buildout: `build` sets the job's number and returns when the job has ended, in whatever way."""

    def build(self, job: BuildJob) -> BuildResult: ...
    def close(self) -> None: ...


class BuildLimits:
    """Limits of the processes of builds; by default nothing is limited."""

    def building(self, folder: Path, account: Account) -> AbstractContextManager[LaunchLimits]:
        """During the block a build runs in a folder, with the limits that are returned."""
        return nullcontext(UNLIMITED)

    def trouble(self, partition: str) -> str:
        """What of BUILDS was ended lately because it took too much, as a sentence; empty if nothing was."""
        return ""


class WarmBuilder:
    """Starts the fork server at the first job. Safe to use from several threads.

    Builders with a `role` work side by side; the one without works when no other does, and ends what they left behind.
    """

    def __init__(self, root: Path, role: str = "") -> None:
        self._root = str(root)
        self._role = role
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[socket.socket, Future[BuildEnd | None]]] = {}
        self._channel: socket.socket | None = None
        self._child: process.Child | None = None
        self._closed = False

    def build(self, job: BuildJob) -> BuildResult:
        """Run a job. If the fork server dies meanwhile, run the job once more."""
        for _ in range(_ATTEMPTS):
            if result := self._attempt(job):
                return result
        return BuildResult(id=0, outcome=Outcome.FAILED, message="The builder process was killed.")

    def _attempt(self, job: BuildJob) -> BuildResult | None:
        """Run a job once; None when the fork server died meanwhile."""
        number = next(self._numbers)
        future: Future[BuildEnd | None] = Future()
        with _job_file(_document(job, number)) as job_file, _answer_file() as answer_file:
            with self._lock:
                if self._closed:
                    return None
                request = _Request(number, job.timeout, (job_file, answer_file))
                try:
                    self._send_to(self._connected(), request, future)
                except ConnectionError:
                    self._channel = None
                    self._send_to(self._connected(), request, future)
            end = future.result()
            return _result(job, end, _read_answer(answer_file)) if end else None

    def warm_up(self) -> None:
        """Start the process before the first job needs it."""
        with self._lock:
            self._connected()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._channel:
                self._channel.shutdown(socket.SHUT_RDWR)

    def _send_to(self, channel: socket.socket, request: "_Request", future: Future[BuildEnd | None]) -> None:
        """Register the job as waiting, then send it: a build may end before the send returns."""
        self._waiting[request.id] = channel, future
        try:
            socket.send_fds(channel, [f"{request.id} {request.timeout}".encode()], request.descriptors)
        except OSError:
            del self._waiting[request.id]
            raise

    def _connected(self) -> socket.socket:
        if self._channel is None:
            # End the builds of the previous builder: its channel closes before it ends, so wait for it first.
            if self._child:
                self._child.wait()
            for role in {"", self._role} if self._role else ("", *ROLES):
                end_stray_builds(self._root + role)
            self._channel, theirs = socket.socketpair()
            argv = [sys.executable, "-P", "-c", _START, str(theirs.fileno())]
            marked = environment.bare(Path("/"), {NODE_MARK: self._root, BUILD_MARK: self._root + self._role})
            self._child = process.start_child(argv, marked, [theirs.fileno()])
            theirs.close()
            threading.Thread(target=self._read, args=(self._channel, self._child), name="builder", daemon=True).start()
        return self._channel

    def _read(self, channel: socket.socket, child: process.Child) -> None:
        try:
            with channel.makefile("rb") as lines:
                for line in lines:
                    # Without the lock: whoever holds it may be waiting for the builder to read.
                    end = BuildEnd.model_validate_json(line)
                    _, future = self._waiting.pop(end.id)
                    future.set_result(end)
        except OSError:
            pass  # it ended with a job of ours unread
        finally:
            child.wait()
            self._give_up(channel)

    def _give_up(self, channel: socket.socket) -> None:
        """Tell all jobs of a fork server that died; the next job starts a new server."""
        with self._lock:
            lost = [number for number, (theirs, _) in list(self._waiting.items()) if theirs is channel]
            futures = {number: self._waiting.pop(number)[1] for number in lost}
            self._channel = None if self._channel is channel else self._channel
            channel.close()
        for future in futures.values():
            future.set_result(None)


@dataclass(frozen=True)
class _Request:
    """A job as it is sent to the fork server: number, seconds, files of the job and of its answer."""

    id: int
    timeout: float
    descriptors: tuple[int, int]


@contextmanager
def _job_file(document: bytes) -> Iterator[int]:
    """A file in memory, without a name, while the block runs."""
    descriptor = os.memfd_create("job")
    with os.fdopen(descriptor, "wb") as file:
        file.write(document)
        file.flush()
        yield descriptor


@contextmanager
def _answer_file() -> Iterator[int]:
    """An unnamed file in memory of fixed size, for a build to write to, while the block runs."""
    descriptor = os.memfd_create("answer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.truncate(descriptor, _MAX_ANSWER_BYTES)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        yield descriptor
    finally:
        os.close(descriptor)


def _read_answer(descriptor: int) -> bytes:
    """The data that a build wrote, without the zeros that fill the file."""
    end = os.lseek(descriptor, 0, os.SEEK_HOLE)
    return os.pread(descriptor, end, 0).rstrip(b"\0")


def _document(job: BuildJob, number: int) -> bytes:
    """The job as JSON. Builds of releases get variables of package registries, partitions do not."""
    access = environment.registry_access() if job.context is None else {}
    return job.model_copy(update={"id": number, "environment": access | job.environment}).model_dump_json().encode()


def _result(job: BuildJob, end: BuildEnd, answer: bytes) -> BuildResult:
    """The result in a build's answer, validated: it comes from a process that ran a tenant's code."""
    if end.reason:
        return BuildResult(id=end.id, outcome=Outcome.FAILED, message=end.reason)
    try:
        return BuildResult.model_validate_json(answer).model_copy(update={"id": end.id, "is_taken": False})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])).encode("unicode_escape").decode()[:_MAX_PLACE_LENGTH]
        reason = f"{place}: {first['msg']}" if place else first["msg"]
        log_refusal(Path(job.folder).name, "the answer of a build", reason)
        message = f"The answer of the build is refused: {reason}\nSomething that the build ran forged or broke it."
        return BuildResult(id=end.id, outcome=Outcome.FAILED, message=message)
