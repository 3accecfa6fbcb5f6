"""Files that are whole or not there: write aside, fsync, rename."""

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from slap.system.trust import folders
from slap.system.trust.untrusted_files import open_regular

# Bytes of a file that is read as a whole: documents, records and profiles, no content.
MOST_READ = 16 << 20
_PIECE = 1 << 16

_C = ctypes.CDLL(None, use_errno=True)


def write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Replace a file's content, atomically and durably; the folder must exist.

    Raises OSError and leaves the former content when the disk is full.
    """
    # A name that nobody can guess: other threads write here too, and a partition's user could lie in wait with a pipe.
    aside = path.with_name(f".{path.name}.{token_hex(8)}.aside")
    data = content.encode() if isinstance(content, str) else content
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:  # a write that failed does not know by itself what was being written
        error.filename = str(path)
        raise
    finally:
        with suppress(FileNotFoundError):  # after a success it has its real name
            aside.unlink()


def write_if_changed(path: Path, content: str, mode: int = 0o644) -> bool:
    """Write only what differs; whether it did."""
    if read_or(path, "\0") == content and stat.S_IMODE(path.stat().st_mode) == mode:
        return False
    write(path, content, mode)
    return True


def put_in_place(made: Path, path: Path) -> None:
    """Give a file or folder that was made aside its real name, durably; what had the name before is replaced."""
    folders.rename(made, path, is_durable=True)


def flush_disk(path: Path) -> None:
    """Have all that was written to the file system of a path outlast a power cut. No other one is waited for: not those of
    machines that run here, nor one over the network that does not answer."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _C.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def read_or(path: Path, default: str, limit: int = MOST_READ) -> str:
    """The text of a file, or a default when there is no such file.

    Raises OSError for what is no ordinary file: a pipe that nobody writes to and a device have no end.
    """
    try:
        return read_bytes(path, limit).decode(errors="replace")
    except FileNotFoundError:
        return default


def read_bytes(path: Path, limit: int = MOST_READ) -> bytes:
    """The content of an ordinary file; raises OSError for anything else, and for one of more than `limit` bytes."""
    content = bytearray()
    with open_regular(path, None) as file:
        while len(content) <= limit and (piece := file.read(_PIECE)):
            content += piece
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"has more than {limit} bytes", str(path))
    return bytes(content)


def tail(path: Path, lines: int, limit: int = 64 * 1024) -> str:
    """The last lines of a text file, reading at most `limit` bytes of it; empty when there is no such file."""
    try:
        with open_regular(path, None) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            text = file.read(limit).decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:]) if lines > 0 else ""


def make_folder(path: Path, mode: int = 0o755, owner: tuple[int, int] | None = None) -> None:
    """A folder with exactly this mode, and of this owner (user and group), whatever the umask and whatever was there.

    Root removes a link in its place that somebody else made: nothing that it leads to is touched.
    """
    folders.make(path, mode, owner)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, read-only folders and links included; nothing happens when it is gone."""
    folders.remove(path)


@contextmanager
def exclusive(path: Path, wait: bool = True, shared: bool = False) -> Iterator[bool]:
    """Hold a lock between processes while the block runs; yields whether it was got (always true with `wait`).

    Those who `shared` it hold it side by side, and nobody else meanwhile. Only the owner can open the file: whoever could
    even read it could hold the lock for ever.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
        _close_to_others(file.fileno())
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _close_to_others(descriptor: int) -> None:
    """Take others' rights from a file of ours that an earlier version made."""
    seen = os.fstat(descriptor)
    if seen.st_uid == os.geteuid() and seen.st_mode & 0o077:
        os.fchmod(descriptor, 0o600)
