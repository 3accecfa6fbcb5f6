"""Project quotas: how much the files below a folder may take on its file system (quotactl(2), ioctl_xfs_fsgetxattr(2)).

What is made below a folder of a project belongs to that project. Only the owner of a file may give it to another one. Root
with CAP_SYS_RESOURCE is not limited.
"""

import ctypes
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_Q_GETQUOTA, _Q_SETQUOTA, _PRJQUOTA = 0x800007, 0x800008, 2
_BLOCK = 1024  # bytes, whatever the file system
_LIMITS = 1 | 4  # QIF_BLIMITS and QIF_ILIMITS: which members of struct if_dqblk are set
_DQBLK = struct.Struct("8QI4x")  # hard, soft, bytes used, hard and soft inodes, inodes used, two times, which are valid
_FSXATTR = struct.Struct("5I8x")  # flags, extent size, extents, project, extent size of copies
_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820
_INHERIT = 0x200  # FS_XFLAG_PROJINHERIT
# Options of mounts that count and refuse: of ext4, and of XFS by its longer name.
_ENFORCING = frozenset({"prjquota", "pquota"})


@dataclass(frozen=True)
class DiskUse:
    """Bytes, and how many files and folders."""

    bytes: int
    files: int


class DiskQuotas(Protocol):
    """Quotas of one file system, by the number of a project; raises OSError for what the kernel refuses."""

    def set(self, folder: Path, project: int, most: DiskUse) -> None:
        """Have all in a folder, and what will be, belong to a project that may take so much."""
        ...

    def remove(self, folder: Path, project: int) -> None:
        """Have an empty folder belong to no project, and the project have no limit."""
        ...

    def used(self, project: int) -> DiskUse: ...


@dataclass(frozen=True)
class ProjectQuotas:
    """The kernel's, of the file system on a device."""

    device: str

    def set(self, folder: Path, project: int, most: DiskUse) -> None:
        if _project_of(folder) != project:
            for descriptor in _open_all(folder):
                _set_project(descriptor, project)
        self._limit(project, most)

    def remove(self, folder: Path, project: int) -> None:
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                _set_project(descriptor, 0)
            finally:
                os.close(descriptor)
        self._limit(project, DiskUse(0, 0))

    def used(self, project: int) -> DiskUse:
        found = ctypes.create_string_buffer(_DQBLK.size)
        try:
            self._call(_Q_GETQUOTA, project, found)
        except FileNotFoundError:  # XFS of a project that nothing belongs to
            return DiskUse(0, 0)
        amounts = _DQBLK.unpack(found.raw)
        return DiskUse(amounts[2], amounts[5])

    def _limit(self, project: int, most: DiskUse) -> None:
        blocks = -(-most.bytes // _BLOCK)
        words = _DQBLK.pack(blocks, 0, 0, most.files, 0, 0, 0, 0, _LIMITS)
        self._call(_Q_SETQUOTA, project, ctypes.create_string_buffer(words, _DQBLK.size))

    def _call(self, command: int, project: int, document: ctypes.Array[ctypes.c_char]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.quotactl(ctypes.c_int(command << 8 | _PRJQUOTA), os.fsencode(self.device), project, document) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), self.device)


@dataclass
class FakeQuotas:
    """Remembers what it is told; `taken` is what projects use."""

    projects: dict[Path, int] = field(default_factory=dict)
    limits: dict[int, DiskUse] = field(default_factory=dict)
    taken: dict[int, DiskUse] = field(default_factory=dict)

    def set(self, folder: Path, project: int, most: DiskUse) -> None:
        self.projects[folder] = project
        self.limits[project] = most

    def remove(self, folder: Path, project: int) -> None:
        self.projects.pop(folder, None)
        self.limits.pop(project, None)

    def used(self, project: int) -> DiskUse:
        return self.taken.get(project, DiskUse(0, 0))


def open_quotas(folder: Path) -> ProjectQuotas | None:
    """The quotas of the file system that a folder is in; None where it has none that are enforced, or for who is not root."""
    mounts = Path("/proc/self/mountinfo").read_text()
    if os.geteuid() != 0 or (device := find_quota_device(mounts, folder.resolve())) is None:
        return None
    quotas = ProjectQuotas(device)
    try:
        quotas.used(0)
    except OSError:
        return None
    return quotas


def find_quota_device(mounts: str, folder: Path) -> str | None:
    """The device of the file system that has a folder, if it is mounted with quotas of projects (proc(5), mountinfo)."""
    best, found = Path(), None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        place = Path(before.split()[4].replace("\\040", " "))
        if folder.is_relative_to(place) and len(place.parts) >= len(best.parts):  # the last of several at one place
            _, device, options = after.split()
            best, found = place, device if _ENFORCING & set(options.split(",")) else None
    return found


def _open_all(folder: Path) -> Iterator[int]:
    """A descriptor of a folder and of each file and folder in it, whoever moves them meanwhile; no link is followed."""
    for _, _, names, descriptor in os.fwalk(folder, topdown=False):
        for name in names:
            with suppress(OSError):  # it is gone, or a link, or a socket: those take no blocks worth counting
                opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
                try:
                    if stat.S_ISREG(os.fstat(opened).st_mode):
                        yield opened
                finally:
                    os.close(opened)
        yield descriptor


def _project_of(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        return int(_FSXATTR.unpack(_attributes(descriptor))[3])
    finally:
        os.close(descriptor)


def _set_project(descriptor: int, project: int) -> None:
    flags, extent, extents, _, copies = _FSXATTR.unpack(_attributes(descriptor))
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        flags = flags | _INHERIT if project else flags & ~_INHERIT
    fcntl.ioctl(descriptor, _SET_ATTRIBUTES, _FSXATTR.pack(flags, extent, extents, project, copies))


def _attributes(descriptor: int) -> bytes:
    return bytes(fcntl.ioctl(descriptor, _GET_ATTRIBUTES, bytes(_FSXATTR.size)))
