"""What processes use, as the kernel counts it: /proc, and sock_diag for what went over TCP connections."""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slap.system.host.quota import DiskUse
from slap.system.lazy_import import Later
from slap.system.processes import PARTITION_MARK

pyroute2: Any = Later("pyroute2")

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_BLOCK = 512  # bytes, whatever the file system (stat(2))
_WITH_TCP_INFO = 1 << 1  # sock_diag(7): INET_DIAG_INFO
_CONNECTED = 1 << 1  # TCP_ESTABLISHED
# A process that is gone, or that we may not look into.
_UNSEEN = (FileNotFoundError, ProcessLookupError, PermissionError)
_MARK = f"\0{PARTITION_MARK}=".encode()
# A tenant's folder is not counted without end.
_MOST_FILES = 2_000_000


@dataclass(frozen=True)
class ProcessUse:
    """A process of a partition; `started` tells it from a later one of the same number. CPU in seconds, the rest in bytes."""

    pid: int
    started: int
    partition: str
    cpu: float
    memory: int
    read: int = 0
    written: int = 0
    sockets: frozenset[int] = field(default_factory=frozenset)


@dataclass(frozen=True)
class SocketUse:
    """Bytes that a TCP connection carried since it began; `inode` names its socket."""

    inode: int
    received: int
    sent: int


def processes(users: Mapping[int, str], places: Mapping[str, str]) -> Iterator[ProcessUse]:
    """The processes of partitions: known by the user that they run as (`users` has partitions by user id), or by their
    mark (`places` has partitions by the path of their folder).
    """
    for folder, partition in _find_processes(users, places):
        with suppress(*_UNSEEN):
            yield _process(folder, partition)


@dataclass(frozen=True)
class Member:
    """A process of a partition and what it takes: memory in bytes, what it shares with others counted whole."""

    pid: int
    threads: int
    memory: int
    started: int


def members(users: Mapping[int, str], places: Mapping[str, str]) -> dict[str, list[Member]]:
    """The processes of each partition that has some; as `processes`, and cheaper."""
    found: dict[str, list[Member]] = {}
    for folder, partition in _find_processes(users, places):
        with suppress(*_UNSEEN):
            found.setdefault(partition, []).append(_member(folder))
    return found


def open_files(pid: int) -> int:
    """How many files a process has open; 0 for one that is gone, and before Linux 6.2, which does not count them."""
    with suppress(*_UNSEEN):
        return os.stat(f"/proc/{pid}/fd").st_size
    return 0


def proportional_memory(pid: int) -> int:
    """Bytes of a process, where what it shares counts in part (proc(5), Pss); 0 for one that is gone."""
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
    return 0


def connections() -> dict[int, SocketUse]:
    """The TCP connections of this network namespace by inode; empty where the kernel does not tell."""
    try:
        with pyroute2.DiagSocket() as diagnosis:
            diagnosis.bind()
            return {use.inode: use for use in _sockets(diagnosis)}
    except (OSError, pyroute2.NetlinkError):
        return {}


def disk_use(folder: Path) -> DiskUse:
    """What the files of a folder take on its disk; hard links count once, other file systems not at all."""
    try:
        top = folder.stat()
    except FileNotFoundError:
        return DiskUse(0, 0)
    seen: set[int] = set()
    blocks = top.st_blocks + sum(_blocks(folder, top.st_dev, seen))
    return DiskUse(blocks * _BLOCK, len(seen) + 1)


def _find_processes(users: Mapping[int, str], places: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """The folders in /proc of processes of partitions, and whose they are.

    Only root may read the marks of other users' processes, so nobody else tries.
    """
    own = os.geteuid()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(*_UNSEEN):
            user = os.stat(f"/proc/{name}").st_uid
            partition = users.get(user)
            if not partition and places and own in (0, user):
                partition = places.get(_marked(Path("/proc", name)))
            if partition:
                yield Path("/proc", name), partition


def _process(folder: Path, partition: str) -> ProcessUse:
    fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    resident, shared = (int(pages) * _PAGE for pages in (folder / "statm").read_text().split()[1:3])
    read, written = _io(folder)
    return ProcessUse(
        pid=int(folder.name),
        started=int(fields[19]),
        partition=partition,
        cpu=(int(fields[11]) + int(fields[12])) / _TICKS,
        # What is shared with others, programs mostly, would be counted once for each of them.
        memory=resident - shared,
        read=read,
        written=written,
        sockets=frozenset(_open_sockets(folder)),
    )


def _member(folder: Path) -> Member:
    fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return Member(int(folder.name), int(fields[17]), int(fields[21]) * _PAGE, int(fields[19]))


def _marked(folder: Path) -> str:
    _, _, after = (b"\0" + (folder / "environ").read_bytes()).partition(_MARK)
    return after.partition(b"\0")[0].decode(errors="replace")


def _io(folder: Path) -> tuple[int, int]:
    lines = (line.split(": ") for line in (folder / "io").read_text().splitlines())
    counters = {name: int(value) for name, value in lines}
    return counters.get("read_bytes", 0), counters.get("write_bytes", 0)


def _open_sockets(folder: Path) -> Iterator[int]:
    for entry in os.scandir(folder / "fd"):
        with suppress(OSError):
            target = os.readlink(entry.path)
            if target.startswith("socket:["):
                yield int(target[8:-1])


def _sockets(diagnosis: Any) -> Iterator[SocketUse]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in diagnosis.get_sock_stats(family=family, states=_CONNECTED, extensions=_WITH_TCP_INFO):
            info = message.get_attr("INET_DIAG_INFO")
            if info:
                received, sent = info.get("tcpi_bytes_received", 0), info.get("tcpi_bytes_acked", 0)
                yield SocketUse(message["idiag_inode"], received, sent)


def _blocks(folder: Path, device: int, seen: set[int]) -> Iterable[int]:
    waiting = [os.fspath(folder)]
    while waiting and len(seen) < _MOST_FILES:
        with suppress(OSError):  # removed while we look
            for entry in os.scandir(waiting.pop()):
                status = entry.stat(follow_symlinks=False)
                if status.st_ino in seen or status.st_dev != device:
                    continue
                seen.add(status.st_ino)
                yield status.st_blocks
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
