"""Watching what partitions take: memory and processes where there are no cgroups, and disk.

A glance costs two small files; only when the computer as a whole changed, or some time has passed, each process is seen.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from slap.model.errors import NotFound
from slap.model.node import DesiredInstance
from slap.model.resources.limits import Limits
from slap.model.vm.size import in_words
from slap.node.core.accounts import partition_account
from slap.node.core.config import NodeConfig
from slap.node.limits.enforcement import LimitsKeeper
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.hooks import PartitionLimits
from slap.node.usage.store import UsageStore
from slap.system.host.launch import LaunchLimits
from slap.system.host.space import available_memory, disk_space, process_count, total_memory
from slap.system.measure import Member, disk_use, members, proportional_memory

log = logging.getLogger(__name__)

_GLANCE_SECONDS = 2.0
_PASS_SECONDS = 60.0  # between two looks at each process, whatever happens
# What has to have changed on the computer for a look at each process, as parts of all memory and of all of the disk.
_MEMORY_PART, _DISK_PART = 0.02, 0.01
_MOST_DISK = 256 << 20  # bytes, however large the disk
_MANY_PROCESSES = 100
_NEAR = 0.75  # part of a limit from which a partition is looked at each time
# What an instantiation and scheduled commands print, as much as supervisord keeps of a service.
_UNROTATED = ("buildout.log", "cron.log")
_MAX_LOG_BYTES = 40 << 20
# Measuring folders takes at most this part of the time.
_DISK_SHARE = 0.1
# Seconds that a requester is told of what happened; a limit that is hit again and again stays an error.
_TOLD_SECONDS = 90.0


class Eyes(Protocol):
    """What is seen of a computer and of partitions."""

    def members(self, partitions: Mapping[str, Limits]) -> dict[str, list[Member]]: ...
    def memory(self, pid: int) -> int: ...
    def disk(self, partition: str) -> int: ...
    def trim_logs(self, partition: str) -> None: ...
    def end(self, pid: int) -> None: ...


@dataclass(frozen=True)
class SystemEyes:
    """The real ones."""

    config: NodeConfig

    def members(self, partitions: Mapping[str, Limits]) -> dict[str, list[Member]]:
        if not self.config.format.alter_user:
            return members({}, {str(self.config.partition(name)): name for name in partitions})
        users = {}
        for name in partitions:
            with suppress(NotFound):
                users[partition_account(self.config, name).user or 0] = name
        return members(users, {})

    def memory(self, pid: int) -> int:
        return proportional_memory(pid)

    def disk(self, partition: str) -> int:
        return disk_use(self.config.partition(partition))

    def trim_logs(self, partition: str) -> None:
        """Empty the logs that no program rotates, where they are too long; who writes them only appends."""
        for name in _UNROTATED:
            path = self.config.partition_logs / partition / name
            if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
                log.warning("%s is emptied: it was longer than %s.", path, in_words(_MAX_LOG_BYTES))
                os.truncate(path, 0)

    def end(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@dataclass
class _Trouble:
    message: str
    until: float


@dataclass
class Glance:
    """The computer as a whole."""

    memory: int = 0
    processes: int = 0
    disk: int = 0
    at: float = 0.0
    disk_total: int = 0


@dataclass
class LimitsWatcher(PartitionLimits):
    """Ends what takes more than it may, and tells why. `touch` has a partition looked at anew."""

    keeper: LimitsKeeper
    eyes: Eyes
    store: UsageStore
    touch: Callable[[str], None]
    instances: Path
    now: Callable[[], float] = time.time
    _troubles: dict[str, _Trouble] = field(default_factory=dict)
    _disks: dict[str, int] = field(default_factory=dict)
    _kills: dict[str, int] = field(default_factory=dict)
    _near: bool = False
    _disk_due: float = 0.0
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Repeat until `stop`."""
        before = Glance()
        while not self._stopped.wait(_GLANCE_SECONDS):
            try:
                before = self.once(before)
            except OSError as error:
                log.warning("What partitions take was not seen: %s", error)

    def stop(self) -> None:
        self._stopped.set()

    def trouble(self, partition: str) -> str:
        found = self._troubles.get(partition)
        return found.message if found and self.now() < found.until else ""

    def apply(self, folder: PartitionFolder, desired: DesiredInstance) -> LaunchLimits:
        return self.keeper.apply(folder, desired)

    def forget(self, folder: PartitionFolder) -> None:
        self.keeper.forget(folder)
        self._disks[folder.name] = 0
        self._troubles.pop(folder.name, None)

    def fullness(self, desired: DesiredInstance) -> str:
        return self._fullness(desired.partition, self.keeper.requested(desired))

    def _fullness(self, partition: str, limits: Limits) -> str:
        if partition not in self._disks:
            self._disks[partition] = self.store.disk(partition)[1]
        used = self._disks[partition]
        if limits.disk is None or used <= limits.disk:
            return ""
        return (
            f"Its files take {in_words(used)}, and its limit is disk = {in_words(limits.disk)}: its services are stopped. "
            "They start again when files are removed, or with a higher limit (--limit disk=...)."
        )

    def once(self, before: Glance) -> Glance:
        """A glance, and a look at each process where that is due."""
        glance = self._glance()
        partitions = self.keeper.current()
        if self._near or _differs(before, glance):
            self._near = False
            found = self.eyes.members(partitions)
            for name, own in found.items():
                self._look(name, partitions[name], own)
            self._see_kernel(partitions)
        else:
            glance.memory, glance.processes, glance.at = before.memory, before.processes, before.at
        glance.disk = self._look_at_disks(before, glance, partitions)
        return glance

    def _glance(self) -> Glance:
        disk = disk_space(self.instances)
        return Glance(available_memory(), process_count(), disk.free, self.now(), disk.total)

    def _look(self, name: str, limits: Limits, own: list[Member]) -> None:
        if self.keeper.cgroups:
            inside = set(self.keeper.cgroups.pids(name))
            for member in own:
                if member.pid not in inside:  # the agent started it, for a moment outside
                    self.keeper.cgroups.join(name, member.pid)
            return
        self._look_at_processes(name, limits, own)
        self._look_at_memory(name, limits, own)

    def _look_at_processes(self, name: str, limits: Limits, own: list[Member]) -> None:
        count, most = sum(each.threads for each in own), limits.processes
        if most is None or count < most * _NEAR:
            return
        self._near = True
        if count >= most:
            self._tell(name, f"It has {count} processes and threads, and its limit is processes = {most}.")
        if count > most:  # the kernel counts by user, where each partition has one
            for member in sorted(own, key=lambda each: each.started, reverse=True):
                self.eyes.end(member.pid)

    def _look_at_memory(self, name: str, limits: Limits, own: list[Member]) -> None:
        """As the kernel does for a cgroup: the largest process is ended, until the others are within the limit."""
        most = limits.memory
        if most is None or sum(each.memory for each in own) < most * _NEAR:
            return
        self._near = True
        exact = sorted(((self.eyes.memory(each.pid), each.pid) for each in own), reverse=True)
        used = sum(size for size, _ in exact)
        for size, pid in exact:
            if used <= most:
                return
            self._tell(
                name,
                f"It took {in_words(used)} of memory, and its limit is memory = {in_words(most)}: "
                f"its largest process, {pid} with {in_words(size)}, was ended.",
            )
            self.eyes.end(pid)
            used -= size

    def _see_kernel(self, partitions: Mapping[str, Limits]) -> None:
        """What the kernel ended by itself."""
        for name, limits in partitions.items() if self.keeper.cgroups else ():
            kills = self.keeper.cgroups.kills(name) if self.keeper.cgroups else 0
            if kills > self._kills.get(name, kills):
                most = in_words(limits.memory or total_memory())
                self._tell(name, f"Its limit is memory = {most}: the kernel ended a process of it.")
            self._kills[name] = kills

    def _look_at_disks(self, before: Glance, glance: Glance, partitions: Mapping[str, Limits]) -> int:
        """Measure when much was written or freed; returns how much was free then."""
        step = min(_MOST_DISK, int(glance.disk_total * _DISK_PART))
        full = [name for name, limits in partitions.items() if self._fullness(name, limits)]
        changed = before.at > 0 and abs(glance.disk - before.disk) >= step
        for name in partitions if changed else ():
            self.eyes.trim_logs(name)
        if not (changed or full) or self.now() < self._disk_due:
            return before.disk if before.at > 0 else glance.disk
        started = time.monotonic()
        for name in partitions if changed else full:
            self._measure(name, partitions[name])
        self._disk_due = self.now() + max(_GLANCE_SECONDS, (time.monotonic() - started) / _DISK_SHARE)
        return glance.disk

    def _measure(self, name: str, limits: Limits) -> None:
        was_full = self._fullness(name, limits)
        self._disks[name] = self.eyes.disk(name)
        self.store.keep_disk(name, self.now(), self._disks[name])
        if bool(was_full) != bool(now_full := self._fullness(name, limits)):
            log.warning("%s: %s", name, now_full or "Its files are within its limit again.")
            self.touch(name)

    def _tell(self, name: str, message: str) -> None:
        is_new = not self.trouble(name)
        self._troubles[name] = _Trouble(message, self.now() + _TOLD_SECONDS)
        if is_new:
            log.warning("%s: %s", name, message)
            self.touch(name)


def _differs(before: Glance, glance: Glance) -> bool:
    return (
        not before.at <= glance.at < before.at + _PASS_SECONDS
        or before.memory - glance.memory > total_memory() * _MEMORY_PART
        or glance.processes - before.processes > _MANY_PROCESSES
    )
