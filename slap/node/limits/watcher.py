"""Watching what partitions take: memory and processes where there are no cgroups, and disk.

A glance costs two small files; only when the computer as a whole changed, or some time has passed, each process is seen.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from slap.model.errors import CommandFailed
from slap.model.node import DesiredInstance
from slap.model.resources.limits import Limits
from slap.model.vm.size import in_words
from slap.node.buildout.builder import BUILDS, BuildLimits
from slap.node.core.accounts import Account
from slap.node.limits.enforcement import LimitsKeeper
from slap.node.limits.eyes import Eyes
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.hooks import PartitionLimits
from slap.node.usage.store import UsageStore
from slap.system.host.launch import LaunchLimits
from slap.system.host.quota import DiskUse
from slap.system.host.space import available_memory, disk_space, open_file_count, process_count, total_memory
from slap.system.metrics import Member

log = logging.getLogger(__name__)

_GLANCE_SECONDS = 2.0
_PASS_SECONDS = 60.0  # between two looks at each process, whatever happens
# What has to have changed on the computer for a look at each process, as parts of all memory and of all of the disk.
_MEMORY_PART, _DISK_PART = 0.02, 0.01
_MOST_DISK = 256 << 20  # bytes, however large the disk
_MANY_PROCESSES = 100
_MANY_OPEN_FILES = 1000
_MANY_NEW_FILES = 10_000  # made or removed since disks were measured
_FULL = 0.95  # of its descriptors: a process that is refused more closes some
_NEAR = 0.75  # part of a limit from which a partition is looked at each time
# Measuring folders takes at most this part of the time.
_DISK_SHARE = 0.1
# Seconds that a requester is told of what happened; a limit that is hit again and again stays an error.
_TOLD_SECONDS = 90.0


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
    open_files: int = 0
    free_files: int = 0


@dataclass
class LimitsWatcher(PartitionLimits, BuildLimits):
    """Ends what takes more than it may, and tells why. `touch` has a partition looked at anew."""

    keeper: LimitsKeeper
    eyes: Eyes
    store: UsageStore
    touch: Callable[[str], None]
    instances: Path
    now: Callable[[], float] = time.time
    _troubles: dict[str, _Trouble] = field(default_factory=dict)
    _disks: dict[str, DiskUse] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
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
        self._disks[folder.name] = DiskUse(0, 0)
        self._troubles.pop(folder.name, None)
        self._write(lambda: self.store.forget_reached(folder.name))

    @contextmanager
    def building(self, folder: Path, account: Account) -> Iterator[LaunchLimits]:
        with self._lock:
            if not self.eyes.builds:
                self._disks[BUILDS] = DiskUse(0, 0)
                self._troubles.pop(BUILDS, None)
            self.eyes.builds.add(folder)
            limits = self.keeper.apply_to_builds(account)
        try:
            yield limits
        finally:
            with self._lock:
                self.eyes.builds.discard(folder)
                if not self.eyes.builds:
                    self.keeper.forget_builds()

    def fullness(self, desired: DesiredInstance) -> str:
        return self._fullness(desired.partition, self.keeper.requested(desired))

    def _fullness(self, partition: str, limits: Limits) -> str:
        if partition not in self._disks:
            self._disks[partition] = DiskUse(self.store.disk(partition)[1], 0)
        used, most_files = self._disks[partition], self.keeper.most_files(limits)
        if limits.disk is not None and used.bytes > limits.disk:
            taken, most, more = in_words(used.bytes), f"disk = {in_words(limits.disk)}", "disk=..."
        elif most_files is not None and used.files > most_files:
            taken, most, more = f"{used.files} files", f"{most_files} files, by its part of the disk", "disk=..."
        else:
            return ""
        return (
            f"Its files take {taken}, and its limit is {most}: its services are stopped. "
            f"They start again when files are removed, or with a higher limit (--limit {more})."
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
            glance.open_files = before.open_files
        self._look_at_disks(before, glance, partitions)
        return glance

    def _glance(self) -> Glance:
        disk = disk_space(self.instances)
        glance = Glance(available_memory(), process_count(), disk.free, self.now(), disk.total)
        glance.open_files, glance.free_files = open_file_count(), disk.free_files
        return glance

    def _look(self, name: str, limits: Limits, own: list[Member]) -> None:
        if self.keeper.cgroups:
            inside = set(self.keeper.cgroups.pids(name))
            for member in own:
                if member.pid not in inside:  # the agent started it, for a moment outside
                    self.keeper.cgroups.join(name, member.pid)
            return
        self._look_at_processes(name, limits, own)
        self._look_at_descriptors(name, limits, own)
        self._look_at_memory(name, limits, own)

    def _look_at_processes(self, name: str, limits: Limits, own: list[Member]) -> None:
        count, most = sum(each.threads for each in own), limits.processes
        if most is None or count < most * _NEAR:
            return
        self._near = True
        if count >= most:
            self._tell(name, "processes", f"It has {count} processes and threads, and its limit is processes = {most}.")
        if count > most:  # the kernel counts by user, where each partition has one
            for member in sorted(own, key=lambda each: each.started, reverse=True):
                self.eyes.end(member.pid)

    def _look_at_descriptors(self, name: str, limits: Limits, own: list[Member]) -> None:
        """The kernel gives no process more; here it is only told."""
        most = limits.descriptors
        if most is not None and any(self.eyes.files(each.pid) >= most * _FULL for each in own):
            self._tell(name, "descriptors", f"A process has all the open files that it may: descriptors = {most}.")

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
                "memory",
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
                self._tell(name, "memory", f"Its limit is memory = {most}: the kernel ended a process of it.")
            self._kills[name] = kills

    def _look_at_disks(self, before: Glance, glance: Glance, partitions: Mapping[str, Limits]) -> None:
        """Measure when much was written or freed since the last time; otherwise `glance` keeps what was free then."""
        step = min(_MOST_DISK, int(glance.disk_total * _DISK_PART))
        full = [name for name, limits in partitions.items() if self._fullness(name, limits)]
        is_written = (
            abs(glance.disk - before.disk) >= step or abs(glance.free_files - before.free_files) >= _MANY_NEW_FILES
        )
        changed = before.at > 0 and is_written
        for name in partitions if changed else ():
            self.eyes.trim_logs(name)
        if not (changed or full) or self.now() < self._disk_due:
            if before.at > 0:
                glance.disk, glance.free_files = before.disk, before.free_files
            return
        started = time.monotonic()
        for name in partitions if changed else full:
            self._measure(name, partitions[name])
        self._disk_due = self.now() + max(_GLANCE_SECONDS, (time.monotonic() - started) / _DISK_SHARE)

    def _measure(self, name: str, limits: Limits) -> None:
        was_full = self._fullness(name, limits)
        self._disks[name] = self.eyes.disk(name)
        now_full = self._fullness(name, limits)
        if name == BUILDS:
            self._end_large_build(limits)
            return
        if bool(was_full) != bool(now_full):
            log.warning("%s: %s", name, now_full or "Its files are within its limit again.")
            self.touch(name)
            if now_full:
                self._write(lambda: self.store.count_reached(name, "disk"))
        self._write(lambda: self.store.keep_disk(name, self.now(), self._disks[name].bytes))

    def _end_large_build(self, limits: Limits) -> None:
        """All builds have one user: those that are within the limit begin anew."""
        used = self._disks[BUILDS].bytes
        if limits.disk is not None and used > limits.disk:
            self._tell(
                BUILDS,
                "disk",
                f"A build took {in_words(used)} of disk, and its limit is disk = {in_words(limits.disk)}.",
            )
            for each in self.eyes.members({BUILDS: limits}).get(BUILDS, []):
                self.eyes.end(each.pid)
            self._disks[BUILDS] = DiskUse(0, 0)

    def _tell(self, name: str, limit: str, message: str) -> None:
        is_new = not self.trouble(name)
        self._troubles[name] = _Trouble(message, self.now() + _TOLD_SECONDS)
        if is_new:
            log.warning("%s: %s", name, message)
            if name != BUILDS:
                self.touch(name)
            self._write(lambda: self.store.count_reached(name, limit))

    def _write(self, write: Callable[[], None]) -> None:
        """What cannot be written down, because the disk is full, is no reason to let it become fuller."""
        try:
            write()
        except CommandFailed as error:
            log.warning("%s", error)


def _differs(before: Glance, glance: Glance) -> bool:
    return (
        not before.at <= glance.at < before.at + _PASS_SECONDS
        or before.memory - glance.memory > total_memory() * _MEMORY_PART
        or glance.processes - before.processes > _MANY_PROCESSES
        or glance.open_files - before.open_files > _MANY_OPEN_FILES
    )
