"""Files that are whole or not there: write aside, fsync, rename."""

import ctypes
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from slap.system import environment
from slap.system.process import Command, SystemRunner

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
    """Give a file that was made aside its real name, durably; what had the name before is replaced."""
    for each in (made, path.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            if each == made:
                made.replace(path)
        finally:
            os.close(descriptor)


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


def read_or(path: Path, default: str) -> str:
    """The text of a file, or a default when there is no such file."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return default


def tail(path: Path, lines: int, limit: int = 64 * 1024) -> str:
    """The last lines of a text file, reading at most `limit` bytes of it; empty when there is no such file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:]) if lines > 0 else ""


def make_folder(path: Path, mode: int = 0o755) -> None:
    """A folder with exactly this mode, whatever the umask and whatever was there."""
    path.mkdir(parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, read-only folders and links included; nothing happens when it is gone."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path, onerror=_raise_unless_gone)
    except PermissionError:
        _make_folders_writable(path)
        shutil.rmtree(path, onerror=_raise_unless_gone)
    except (RecursionError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EMFILE:
            raise
        _remove_deep_tree(path)


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


def _raise_unless_gone(function: object, path: str, error: tuple[object, BaseException, object]) -> None:
    """What disappears while we remove it is no error: services that still end clean up after themselves."""
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]


def _remove_deep_tree(path: Path) -> None:
    """For folders too deep in each other for `shutil.rmtree`, which calls itself and holds one open for each level."""
    SystemRunner().run(Command((environment.program("rm"), "-rf", "--", str(path)), env={})).check()


def _make_folders_writable(path: Path) -> None:
    """A build may leave folders without the write bit; their owner may still remove what is in them."""
    path.chmod(0o700)
    for folder, subfolders, _ in os.walk(path):
        for name in subfolders:
            if not os.path.islink(os.path.join(folder, name)):
                os.chmod(os.path.join(folder, name), 0o700)
