"""Files that somebody wrote who is not trusted, read by somebody who may read everything."""

import errno
import os
import stat
from pathlib import Path


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
