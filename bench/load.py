"""The load: clients in processes of their own, each sending its calls one after the other over one connection."""

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import quantiles
from typing import Any

from cage import CommandFailed
from wire import Answer, Call, Client

KEPT = 16 * 1024  # bytes of an answer that are kept to be looked into afterwards


@dataclass(frozen=True)
class Load:
    """What came of a load: how long it took in all, and each call's seconds and answer (in the order of the calls)."""

    seconds: float
    latencies: tuple[float, ...]
    answers: tuple[Answer, ...]

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, number: int) -> float:
        """In milliseconds."""
        if len(self.latencies) < 2:
            return 1000 * self.latencies[0]
        return 1000 * quantiles(self.latencies, n=100, method="inclusive")[number - 1]

    def check(self) -> "Load":
        failed = [answer for answer in self.answers if answer.status >= 300]
        if failed:
            raise CommandFailed(
                f"{len(failed)} of {len(self.answers)} requests failed, the first with "
                f"{failed[0].status}: {failed[0].body[:500]!r}"
            )
        return self


def apply(port: int, calls: Sequence[Call], clients: int = 1) -> Load:
    """Send all calls, dealt out to so many clients that begin together."""
    context = multiprocessing.get_context("fork")
    gate, hands = context.Barrier(clients + 1), []
    for number in range(clients):
        ours, theirs = context.Pipe(duplex=False)
        context.Process(target=_client, args=(port, calls[number::clients], gate, theirs), daemon=True).start()
        hands.append(ours)
    gate.wait()
    began = time.perf_counter()
    gathered = [hand.recv() for hand in hands]
    done = max(end for end, *_ in gathered)
    latencies = [seconds for _, seconds_of_client, _ in gathered for seconds in seconds_of_client]
    answers = [Answer(*answer) for _, _, answers_of_client in gathered for answer in answers_of_client]
    return Load(done - began, tuple(latencies), tuple(answers))


def _client(port: int, calls: Sequence[Call], gate: Any, pipe: Connection) -> None:
    client = Client(port)
    latencies, answers = [], []
    gate.wait()
    for call in calls:
        began = time.perf_counter()
        answer = client.send(call)
        latencies.append(time.perf_counter() - began)
        answers.append((answer.status, answer.body[:KEPT]))
    pipe.send((time.perf_counter(), latencies, answers))
