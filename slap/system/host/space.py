"""How much memory and disk this computer has, how much of it is free, and how many processes there are."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DiskSpace:
    """Bytes of a file system, and how many files it can have; 0 where it has no such number."""

    total: int
    free: int
    files: int = 0
    free_files: int = 0


def disk_space(folder: Path) -> DiskSpace:
    """The file system that a folder is in, or will be in once it is made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    found = os.statvfs(folder)
    return DiskSpace(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_favail)


def total_memory() -> int:
    """Bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def available_memory() -> int:
    """Bytes that programs can get without swapping (proc(5), MemAvailable)."""
    _, _, found = _read("/proc/meminfo").partition(b"MemAvailable:")
    return int(found.split(None, 1)[0]) << 10 if found else 0


def process_count() -> int:
    """All threads of this computer (proc(5), loadavg)."""
    return int(_read("/proc/loadavg").split()[3].partition(b"/")[2])


def open_file_count() -> int:
    """Files that all processes of this computer have open (proc(5), file-nr)."""
    return int(_read("/proc/sys/fs/file-nr").split(None, 1)[0])


def _read(path: str) -> bytes:
    """A short file of /proc at once: a node reads these all the time."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
