"""Turn growing counters of processes into what each partition used since the last measurement."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from slap.model.base import Frozen
from slap.system.metrics import ProcessUse, SocketUse


class Counters(Frozen):
    """How far the counters were at a look: per process (`PID/START`) CPU seconds, bytes read and written; per socket
    bytes received and sent.
    """

    at: float  # seconds since the epoch
    processes: dict[str, tuple[float, int, int]]
    sockets: dict[int, tuple[int, int]]


@dataclass
class Amounts:
    """What a partition used between two measurements; memory is the current one."""

    cpu: float = 0.0
    memory: int = 0
    read: int = 0
    written: int = 0
    received: int = 0
    sent: int = 0
    sockets: set[int] = field(default_factory=set)


def counters(at: float, processes: Iterable[ProcessUse], sockets: Mapping[int, SocketUse]) -> Counters:
    """The counters of processes of partitions now."""
    found = list(processes)
    used = {inode for process in found for inode in process.sockets if inode in sockets}
    return Counters(
        at=at,
        processes={_key(process): (process.cpu, process.read, process.written) for process in found},
        sockets={inode: (sockets[inode].received, sockets[inode].sent) for inode in used},
    )


def amounts(
    before: Counters | None, processes: Iterable[ProcessUse], sockets: Mapping[int, SocketUse]
) -> dict[str, Amounts]:
    """What each partition used since `before`; only memory at the first measurement.

    What a process used after the last look at it, and before it ended, is not seen.
    """
    found: defaultdict[str, Amounts] = defaultdict(Amounts)
    for process in processes:
        amount = found[process.partition]
        amount.memory += process.memory
        amount.sockets |= process.sockets
        if before:
            known = before.processes.get(_key(process), (0.0, 0, 0))
            cpu, read, written = known
            amount.cpu += max(0.0, process.cpu - cpu)
            amount.read += max(0, process.read - read)
            amount.written += max(0, process.written - written)
    if before:
        _add_sockets(found, sockets, before)
    return dict(found)


def _key(process: ProcessUse) -> str:
    return f"{process.pid}/{process.started}"


def _add_sockets(found: Mapping[str, Amounts], sockets: Mapping[int, SocketUse], before: Counters) -> None:
    """Add traffic of sockets; one that several processes share counts once."""
    for amount in found.values():
        for inode in amount.sockets & sockets.keys():
            received, sent = before.sockets.get(inode, (0, 0))
            amount.received += max(0, sockets[inode].received - received)
            amount.sent += max(0, sockets[inode].sent - sent)
