"""Checks by schemas of strangers: in worker processes that are killed when they take too long, and fair to all users.

A user has one worker at a time. Of those who wait, the one whose checks took the least time lately is next. Time above a
trifle is counted, and a user who took too much of it is refused for a while.
"""

import asyncio
import json
import logging
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Protocol

from pydantic import Field

from slap.master.schema.limits import SchemaLimits
from slap.model.base import Frozen
from slap.model.errors import TooMany, Unreachable
from slap.model.values import Parameters
from slap.system import environment
from slap.system.process import Child, start_child

log = logging.getLogger(__name__)

# Seconds of a check that are not counted: nobody is refused for many quick ones.
_TRIFLE = 0.05
_START_SECONDS = 30.0
# Of one user. What waits is in memory, in several times its size.
_MOST_WAITING_BYTES = 1 << 20
_LARGEST_VERDICT = 1 << 20
_MODULE = "slap.master.schema.worker"


class SchemaSettings(Frozen):
    """Limits of schemas at supply, and of what they may take when parameters are checked."""

    limits: SchemaLimits = SchemaLimits()
    seconds: float = Field(default=2.0, gt=0, le=60)  # of one check, after which its worker is killed
    seconds_a_minute: float = Field(default=10.0, gt=0)  # of a user's slow checks
    workers: int = Field(default=2, ge=1, le=16)  # processes, started when they are needed
    memory: int = Field(default=20 << 20, ge=1 << 20)  # bytes that each may take above what it has at its start
    waiting: int = Field(default=100, ge=1)  # checks of one user at a time


class CheckFailed(Exception):
    """There is no verdict; the text says why, as the end of a sentence about the schema."""


class Verdict(Frozen):
    """Why a schema is of no use, or what it says against parameters: a line each."""

    unusable: str = ""
    lines: tuple[str, ...] = ()


class Worker(Protocol):
    """Checks one thing at a time."""

    async def check(self, job: bytes) -> bytes: ...

    def is_alive(self) -> bool: ...

    def end(self) -> None: ...


class WorkerProcess:
    """A worker process of this master. Made by `start_worker`."""

    def __init__(self, child: Child, channel: socket.socket, seconds: float) -> None:
        self._child = child
        self._channel = channel
        self._seconds = seconds

    async def check(self, job: bytes) -> bytes:
        """The verdict on a job; raises CheckFailed when there is none, after which the worker is of no use."""
        try:
            async with asyncio.timeout(self._seconds):
                await asyncio.get_running_loop().sock_sendall(self._channel, job)
                return await self.receive()
        except TimeoutError as error:
            raise CheckFailed(f"takes longer than {self._seconds:g} s") from error
        except OSError as error:
            raise CheckFailed("takes too much memory, or more than the validator can do") from error

    async def receive(self) -> bytes:
        """One line of the worker."""
        received = bytearray()
        while not received.endswith(b"\n"):
            part = await asyncio.get_running_loop().sock_recv(self._channel, 1 << 16)
            if not part or len(received) > _LARGEST_VERDICT:
                raise ConnectionError
            received += part
        return bytes(received)

    def is_alive(self) -> bool:
        return self._child.poll() is None

    def end(self) -> None:
        self._channel.close()
        self._child.kill()
        self._child.wait()


async def start_worker(settings: SchemaSettings) -> Worker:
    """A worker that is ready; raises Unreachable when there can be none."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        words = (str(theirs.fileno()), str(settings.memory), str(ceil(settings.seconds)))
        argv = [sys.executable, "-P", "-m", _MODULE, *words]
        worker = WorkerProcess(
            start_child(argv, environment.bare(Path("/")), [theirs.fileno()]), ours, settings.seconds
        )
    try:
        async with asyncio.timeout(_START_SECONDS):
            await worker.receive()
    except (OSError, TimeoutError) as error:
        worker.end()
        raise Unreachable(
            "Parameters cannot be checked now.", "No process can be started.", "Try again later."
        ) from error
    except asyncio.CancelledError:
        worker.end()
        raise
    return worker


@dataclass
class _Share:
    """What one user has of the workers: the seconds of slow checks that count at a moment, and who waits."""

    counted: float = 0.0
    at: float = 0.0
    is_served: bool = False
    size: int = 0  # bytes of what is checked and of what waits
    waiting: deque["asyncio.Future[None]"] = field(default_factory=deque)

    def is_ready(self) -> bool:
        """Whether somebody waits, and may be served: not who went away meanwhile."""
        while self.waiting and self.waiting[0].cancelled():
            self.waiting.popleft()
        return bool(self.waiting) and not self.is_served


class SchemaChecks:
    """All checks of one master process. Its methods belong to the thread of one event loop."""

    def __init__(
        self,
        settings: SchemaSettings,
        start: Callable[[SchemaSettings], Awaitable[Worker]] = start_worker,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._start = start
        self._clock = clock
        self._shares: dict[str, _Share] = {}
        self._idle: list[Worker] = []
        self._busy = 0
        self.refused: Counter[str] = Counter()  # why, as /health has it

    async def check(self, user: str, schema: str, parameters: Parameters | None = None) -> Verdict:
        """What is to be said of a schema, or of parameters if there are any. Raises CheckFailed, TooMany, Unreachable."""
        try:
            job = json.dumps([schema, parameters]).encode() + b"\n"
        except (RecursionError, ValueError) as error:
            raise CheckFailed(
                "cannot be asked: these are nested too deeply, or have a number that is too large,"
            ) from error
        share = self._shares.setdefault(user, _Share())
        async with self._turn(user, share, len(job)):
            worker = await self._ready_worker()
            started = self._clock()
            try:
                return Verdict.model_validate_json(await self._ask(worker, job))
            except CheckFailed as error:
                log.warning("A check by a schema of %r was ended, for it %s.", user, error)
                self.refused["schema-check-ended"] += 1
                raise
            finally:
                share.counted = self._counted(share) + max(0.0, self._clock() - started - _TRIFLE)
                share.at = self._clock()

    def close(self) -> None:
        """End all workers that are idle; a busy one is ended by whoever waits for it."""
        for worker in self._idle:
            worker.end()
        self._idle.clear()

    @asynccontextmanager
    async def _turn(self, user: str, share: _Share, size: int) -> AsyncIterator[None]:
        """Wait until a worker is free for this user. Raises TooMany for one who had too much, or asks too much at once."""
        is_too_large = share.waiting and share.size + size > _MOST_WAITING_BYTES
        if len(share.waiting) >= self.settings.waiting or is_too_large:
            raise self._too_many(user, f"{len(share.waiting)} of your requests wait for a check by a schema.")
        share.size += size
        turn = asyncio.get_running_loop().create_future()
        share.waiting.append(turn)
        self._serve_next()
        try:
            await turn
            if self._counted(share) >= self.settings.seconds_a_minute:
                raise self._too_many(
                    user, f"Your schemas took {self._counted(share):.1f} s to check parameters lately."
                )
            yield
        finally:
            share.size -= size
            if not turn.cancelled():
                share.is_served = False
                self._busy -= 1
            self._serve_next()

    def _serve_next(self) -> None:
        while self._busy < self.settings.workers:
            ready = [each for each in self._shares.values() if each.is_ready()]
            if not ready:
                return
            share = min(ready, key=self._counted)
            share.is_served = True
            self._busy += 1
            share.waiting.popleft().set_result(None)

    def _counted(self, share: _Share) -> float:
        """The seconds that count now: they are forgotten as they may be taken again."""
        return max(0.0, share.counted - (self._clock() - share.at) * self.settings.seconds_a_minute / 60)

    async def _ready_worker(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive():
                return worker
            worker.end()
        return await self._start(self.settings)

    async def _ask(self, worker: Worker, job: bytes) -> bytes:
        is_usable = False
        try:
            verdict = await worker.check(job)
            is_usable = True
            return verdict
        finally:
            if is_usable:
                self._idle.append(worker)
            else:
                worker.end()

    def _too_many(self, user: str, details: str) -> TooMany:
        log.warning("A check by a schema for %r was refused: %s", user, details)
        self.refused["too-many-schema-checks"] += 1
        return TooMany(
            "These parameters are not checked now.", details, "Repeat the request later, or use simpler schemas."
        )
