"""Files that somebody wrote who is not trusted, read by somebody who may read everything."""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO


def read_owned(path: Path, user: int | None, limit: int) -> str:
    """The end of an ordinary file of a user's; of anybody's, when that is None.

    Raises OSError for what is none: root would read for a tenant what a link leads to, or wait for ever for the other
    end of a pipe.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    seen = os.fstat(descriptor)
    if not stat.S_ISREG(seen.st_mode) or user not in (None, seen.st_uid):
        os.close(descriptor)
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(path))
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, seen.st_size - limit))
        return file.read(limit).decode(errors="replace")


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
    finally:
        os.close(found)


def _is_below(path: str, folders: Iterable[Path | str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def _no_file(path: Path) -> OSError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
