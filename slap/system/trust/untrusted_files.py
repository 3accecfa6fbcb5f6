"""Files that somebody wrote who is not trusted, read by somebody who may read everything.

Every path is walked from a folder that its owner cannot replace, without following a link. What is opened is an ordinary
file, so that no pipe and no device holds up the reader, and no more than a limit is read.
"""

import errno
import os
import stat
from collections.abc import Iterable
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO

from slap.system.trust.folders import FILE_FLAGS, FOLDER_FLAGS

_CHUNK_BYTES = 1 << 20


def read_owned(folder: Path, name: str, user: int | None, limit: int) -> str:
    """The end of an ordinary file below a folder, which belongs to a user; to anybody, when that is None.

    Raises OSError for anything else: root would read for a tenant what a link leads to, or wait for ever for the other
    end of a pipe.
    """
    descriptor = _open_file(folder, name, user)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(descriptor).st_size - limit))
        return file.read(limit).decode(errors="replace")


def list_files(folder: Path, name: str, limit: int) -> list[str]:
    """The names of the ordinary files in a folder below a folder, sorted, of its first `limit` entries; raises OSError."""
    descriptor = _open_folder(folder, Path(name))
    try:
        with os.scandir(descriptor) as entries:
            return sorted(entry.name for entry in islice(entries, limit) if entry.is_file(follow_symlinks=False))
    finally:
        os.close(descriptor)


def hash_file(folder: Path, name: str, limit: int) -> str:
    """The SHA-256 of an ordinary file below a folder.

    Of the content up to `limit` bytes, and of size and time for what is larger. A link counts by its own text, but one that
    stays below the folder by what it leads to. Empty for what cannot be read.
    """
    try:
        file = open_regular(folder / name, [folder])
    except OSError:
        return _hash_link(folder, name)
    with file:
        seen = os.fstat(file.fileno())
        digest = sha256()
        if seen.st_size > limit:
            digest.update(f"{seen.st_size} {seen.st_mtime_ns} ".encode())
        while limit > 0 and (chunk := file.read(min(limit, _CHUNK_BYTES))):
            digest.update(chunk)
            limit -= len(chunk)
        return digest.hexdigest()


def _hash_link(folder: Path, name: str) -> str:
    try:
        return sha256(os.readlink(folder / name).encode(errors="surrogateescape")).hexdigest()
    except OSError:
        return ""


def _open_file(folder: Path, name: str, user: int | None) -> int:
    path = Path(name)
    parent = _open_folder(folder, path.parent)
    try:
        descriptor = os.open(path.name, FILE_FLAGS, dir_fd=parent)
    finally:
        os.close(parent)
    seen = os.fstat(descriptor)
    if not stat.S_ISREG(seen.st_mode) or user not in (None, seen.st_uid):
        os.close(descriptor)
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(folder / name))
    return descriptor


def _open_folder(folder: Path, below: Path) -> int:
    if below.is_absolute() or ".." in below.parts:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(below))
    descriptor = os.open(folder, FOLDER_FLAGS)
    for part in below.parts:
        try:
            inner = os.open(part, FOLDER_FLAGS, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def open_regular(path: Path, folders: Iterable[Path] | None) -> IO[bytes]:
    """A regular file, to be read; below one of `folders`, wherever links lead, unless that is None. Raises OSError.

    Nothing is opened before it is known what it is: opening a pipe waits, and opening a device may do something. What is
    then read is the file that was looked at, whatever is put in its place meanwhile.
    """
    if folders is not None and not _is_below(os.path.normpath(path), folders):
        raise _no_file(path)
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        link = f"/proc/self/fd/{found}"
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise OSError(errno.EINVAL, "It is not a regular file", str(path))
        if folders is not None and not _is_below(os.readlink(link), map(os.path.realpath, folders)):
            raise _no_file(path)
        return os.fdopen(os.open(link, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(found)


def _is_below(path: str, folders: Iterable[Path | str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def _no_file(path: Path) -> OSError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
