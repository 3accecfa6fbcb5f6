"""Whole disks for partitions: `.slapos-disk-permission` names them, slapos.cfg allows them.

The file is a list of {"disk": "/dev/..."}. Unlike in SlapOS nothing is allowed that `allowed-disk-for-vm` of
[manager:devperm] does not list, for any tenant could ask for the disk of the computer.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slap.model.errors import InvalidInput
from slap.node.manager.base import Hooks
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.request_files import read_list


@dataclass(frozen=True)
class Disk:
    """The facts on a requested path that decide about it."""

    path: str
    is_block_device: bool
    is_mounted: bool


def refusal(disk: Disk, allowed: Iterable[str]) -> str:
    """Why a disk is not given to a partition; empty when it is."""
    if disk.path not in set(allowed):
        return "it is not in allowed-disk-for-vm of [manager:devperm]"
    if not disk.is_block_device:
        return "it is not a disk"
    return "it is mounted" if disk.is_mounted else ""


def disks_of(entries: Iterable[Any]) -> tuple[str, ...]:
    """The requested disks; raises InvalidInput for an entry of another form."""
    found = []
    for entry in entries:
        path = entry.get("disk") if isinstance(entry, dict) else None
        if not isinstance(path, str) or not path.startswith("/dev/") or "\0" in path:
            raise InvalidInput("A disk permission is wrong.", f"{entry!r:.200} names no disk.")
        found.append(path)
    return tuple(found)


class Devperm(Hooks):
    """Gives disks to a partition's user until the partition is empty, and then back to root."""

    request_file = ".slapos-disk-permission"

    def configured(self, folder: PartitionFolder) -> None:
        for named in disks_of(read_list(folder, self.request_file) or ()):
            path = os.path.realpath(named)
            if why := refusal(look_at(path), self._allowed()):
                raise InvalidInput(f"{folder.name} does not get {named}: {why}.")
            folder.account.chown(Path(path))

    def emptied(self, folder: PartitionFolder) -> None:
        for path in map(Path, self._allowed()):
            if folder.account.user is not None and path.exists() and path.stat().st_uid == folder.account.user:
                os.chown(path, 0, 0)

    def _allowed(self) -> list[str]:
        return self.tools.config.managers.get("devperm", {}).get("allowed-disk-for-vm", "").split()


def look_at(path: str) -> Disk:
    try:
        seen = os.stat(path)
    except OSError:
        return Disk(path, is_block_device=False, is_mounted=False)
    number = f"{os.major(seen.st_rdev)}:{os.minor(seen.st_rdev)}"
    mounted = {line.split()[2] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return Disk(path, stat.S_ISBLK(seen.st_mode), number in mounted)
