"""Folders in which somebody else may write, worked on by descriptor: names that are exchanged meanwhile lead nowhere.

A program of a build, or of a partition, may replace any name in its own folder at any moment. So root opens such folders
name by name, follows no link that somebody else can have put there, and acts on what it has opened.
"""

import ctypes
import errno
import logging
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from secrets import token_hex

log = logging.getLogger(__name__)

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe is opened without waiting for its other end, a terminal without becoming ours.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# Where everybody may write: files, and memory that processes share.
_OPEN_FOLDERS = tuple(map(Path, ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")))
_MOST_LINKS = 40  # as the kernel has it
# openat2(2): the number is that of all processors that Debian runs on; how = flags, mode, resolve.
_OPENAT2 = 437
_HOW_WITHOUT_LINKS = (ctypes.c_uint64 * 3)(os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0, 0x04)  # RESOLVE_NO_SYMLINKS
_C = ctypes.CDLL(None, use_errno=True)
_MOST_ROUNDS = 10  # of emptying a folder that somebody keeps filling


@contextmanager
def opened(path: str | Path, folder: int | None = None) -> Iterator[int]:
    """A descriptor of a folder, reached name by name, from another folder when that is given and the path is relative.

    Root follows a link only where nobody but root can have put it. Raises NotADirectoryError for other links.
    """
    with ExitStack() as stack:
        descriptor = _open_without_links(str(path), folder)
        yield _walk(str(path), folder, stack) if descriptor < 0 else _held(descriptor, stack)


def may_show(seen: os.stat_result, owner: int) -> bool:
    """Whether root may show the content of something in a user's folder to others, as the user could.

    The user may have put a hard link to somebody else's file there.
    """
    return os.geteuid() != 0 or owner in (0, seen.st_uid) or bool(seen.st_mode & stat.S_IROTH)


def read_below(folder: Path, name: str | Path, limit: int = 4 << 20) -> str:
    """The text of an ordinary file in a folder that belongs to somebody else; `limit` in bytes.

    Empty when there is no such file below the folder, it is larger, or a link leads to it.
    """
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        return ""
    with suppress(OSError, ValueError), opened(folder) as top:
        with ExitStack() as stack:
            place = top
            for part in parts[:-1]:
                place = _held(os.open(part, FOLDER_FLAGS, dir_fd=place), stack)
            file = _held(os.open(parts[-1], FILE_FLAGS, dir_fd=place), stack)
            seen = os.fstat(file)
            if stat.S_ISREG(seen.st_mode) and seen.st_size <= limit and may_show(seen, os.fstat(top).st_uid):
                with open(file, "rb", closefd=False) as content:
                    return content.read(limit).decode(errors="replace")
    return ""


def make(path: Path, mode: int | None = None, owner: tuple[int, int] | None = None) -> None:
    """Make a folder, or give the one that is there this mode and this owner (user and group).

    Folders above it that are missing are made too. Somebody else's link in its place is removed.
    """
    if not os.path.lexists(path.parent):
        make(path.parent)
    try:
        with opened(path.parent) as parent:
            _make_in(parent, path, mode, owner)
    except OSError as error:  # calls by descriptor know the last name only
        error.filename = str(path)
        raise


def _make_in(parent: int, path: Path, mode: int | None, owner: tuple[int, int] | None) -> None:
    _mkdir(path.name, parent, mode)
    try:
        _settle(path.name, parent, mode, owner)
    except NotADirectoryError:
        if not stat.S_ISLNK(os.stat(path.name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise
        log.warning("%s is removed: it is a link that somebody else made in the place of a folder.", path)
        os.unlink(path.name, dir_fd=parent)
        _mkdir(path.name, parent, mode)
        _settle(path.name, parent, mode, owner)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it, however deep and however locked.

    What disappears meanwhile is no error. Raises OSError when somebody fills the folder as fast as it is emptied.
    """
    with suppress(FileNotFoundError), opened(path.parent) as parent:
        if _unlink(path.name, parent):
            return
        with ExitStack() as stack:
            top = _taken(path.name, parent, stack)
            for _ in range(_MOST_ROUNDS):
                _empty(top)
                with suppress(OSError):
                    os.rmdir(path.name, dir_fd=parent)
                    return
        os.rmdir(path.name, dir_fd=parent)


def remove_owned(user: int, places: Iterable[Path] = _OPEN_FOLDERS) -> None:
    """Remove what a user has in folders where everybody may write: whoever is that user next would have it.

    Only for a user without processes. What cannot be removed is logged.
    """
    for place in filter(is_folder, places):
        for name in os.listdir(place):
            try:
                if os.lstat(place / name).st_uid == user:
                    remove(place / name)
            except FileNotFoundError:
                continue
            except OSError as error:
                log.warning("%s is not removed: %s", place / name, error.strerror)


def rename(source: Path, target: Path, is_durable: bool = False) -> None:
    """Give a file or folder another name, in another folder of the same disk; what has that name is replaced.

    With `is_durable` it is on the disk, under its new name, when this returns.
    """
    with opened(source.parent) as before, opened(target.parent) as after, ExitStack() as stack:
        if is_durable:
            os.fsync(_held(os.open(source.name, FILE_FLAGS, dir_fd=before), stack))
        os.rename(source.name, target.name, src_dir_fd=before, dst_dir_fd=after)
        if is_durable:
            os.fsync(after)


def is_folder(path: Path) -> bool:
    """Whether there is a folder, and no link that somebody else made."""
    with suppress(OSError), opened(path):
        return True
    return False


def _open_without_links(path: str, folder: int | None) -> int:
    """Return a descriptor of a folder whose path has no link in it, by one call; -1 where it has, or the call fails.

    `_walk` says then why: this is faster only, for nearly all paths.
    """
    place = -100 if folder is None else folder  # AT_FDCWD
    name = os.fsencode(path) or b"."
    if b"\0" in name:  # C would take it for the end
        return -1
    descriptor: int = _C.syscall(_OPENAT2, place, name, _HOW_WITHOUT_LINKS, ctypes.sizeof(_HOW_WITHOUT_LINKS))
    return descriptor


def _walk(path: str, folder: int | None, stack: ExitStack) -> int:
    place = _held(os.open("/" if path.startswith("/") else ".", _PLACE, dir_fd=folder), stack)
    names = deque(path.split("/"))
    links = 0
    while names:
        name = names.popleft() or "."
        inner = _held(os.open(name, _PLACE, dir_fd=place), stack)
        if not stat.S_ISLNK(os.fstat(inner).st_mode):
            place = inner
            continue
        links += 1
        if links > _MOST_LINKS or not _is_trusted(inner, place):
            raise NotADirectoryError(errno.ENOTDIR, "is a link that is not followed", path)
        target = os.readlink(name, dir_fd=place)
        names.extendleft(reversed(target.split("/")))
        if target.startswith("/"):
            place = _held(os.open("/", _PLACE), stack)
    return _held(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place), stack)


def _is_trusted(link: int, folder: int) -> bool:
    """Whether root made a link, in a folder where nobody else can put one in its place."""
    if os.geteuid() != 0:  # what a link leads to is not more than whoever made it can do with us
        return True
    seen = os.fstat(folder)
    is_closed = not seen.st_mode & stat.S_IWOTH or bool(seen.st_mode & stat.S_ISVTX)
    return os.fstat(link).st_uid == seen.st_uid == 0 and is_closed


def _mkdir(name: str, parent: int, mode: int | None) -> None:
    with suppress(FileExistsError):
        os.mkdir(name or ".", 0o777 if mode is None else mode, dir_fd=parent)


def _settle(name: str, parent: int, mode: int | None, owner: tuple[int, int] | None) -> None:
    with opened(name or ".", parent) as folder:
        seen = os.fstat(folder)
        if owner and (seen.st_uid, seen.st_gid) != owner:
            os.fchown(folder, *owner)
        if mode is not None and stat.S_IMODE(seen.st_mode) != mode:
            os.fchmod(folder, mode)


def _empty(top: int) -> None:
    """Remove what is in a folder. Folders further down are moved up to it first, so that none is too deep."""
    unused = (f"{token_hex(8)}.{number}" for number in count())
    waiting = os.listdir(top)
    while waiting:
        name = waiting.pop()
        if _unlink(name, top):
            continue
        with suppress(FileNotFoundError), ExitStack() as stack:
            folder = _taken(name, top, stack)
            for inner in os.listdir(folder):
                if not _unlink(inner, folder):
                    waiting.append(next(unused))
                    _move(inner, folder, waiting[-1], top)
        with suppress(OSError):  # somebody wrote into it: the next round comes here again
            os.rmdir(name, dir_fd=top)


def _move(name: str, folder: int, unused: str, top: int) -> None:
    try:
        os.rename(name, unused, src_dir_fd=folder, dst_dir_fd=top)
    except PermissionError:  # to move a folder is to write into it
        with ExitStack() as stack:
            _taken(name, folder, stack)
            os.rename(name, unused, src_dir_fd=folder, dst_dir_fd=top)


def _taken(name: str, parent: int, stack: ExitStack) -> int:
    """A folder that is about to be emptied, opened. Root takes it first, so that nobody goes on filling it."""
    try:
        folder = _held(os.open(name, FOLDER_FLAGS, dir_fd=parent), stack)
    except PermissionError:  # its owner may open it after this
        place = _held(os.open(name, _PLACE | os.O_DIRECTORY, dir_fd=parent), stack)
        os.chmod(f"/proc/self/fd/{place}", 0o700)
        folder = _held(os.open(name, FOLDER_FLAGS, dir_fd=parent), stack)
    with suppress(PermissionError):
        if os.geteuid() == 0:
            os.fchown(folder, 0, 0)
        os.fchmod(folder, 0o700)
    return folder


def _unlink(name: str, folder: int) -> bool:
    """Remove a file or a link, or find that it is gone; false for a folder."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except IsADirectoryError:
        return False
    except PermissionError:  # what some file systems say of a folder
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return False
        raise
    return True


def _held(descriptor: int, stack: ExitStack) -> int:
    """A descriptor that the stack closes."""
    stack.callback(os.close, descriptor)
    return descriptor
