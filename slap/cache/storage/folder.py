"""Objects as files in a folder.

    ROOT/blob/ab/abcd...        ROOT/entry/12/1234.../0001-ef     ROOT/aside/...

A file is written aside, synced and renamed. Its modification time is its last use.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from slap.cache.storage.storage import PIECE, Stored, checked, checked_prefix, is_whole, missing
from slap.system import files

_ASIDE = "aside"
# A last use is recorded to this many seconds, so that reading seldom writes.
_HOUR = 3600.0
_SPREAD = 2  # characters: 256 folders, with a million objects 4,000 in each
_TRIES = 8


class Folder:
    """Storage in a folder, which is made when it is missing."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._aside = root / _ASIDE
        files.make_folder(root, 0o700)
        self._aside.mkdir(mode=0o700, exist_ok=True)
        _remove_left(self._aside)

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        path = self._path(checked(key))
        aside = self._aside / token_hex(16)
        try:
            with aside.open("xb", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # says that somebody still writes it; ends with us, however we end
                size = _write(file, chunks)
                _move(aside, path)
            return size
        finally:
            aside.unlink(missing_ok=True)

    def get(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        path = self._path(checked(key))
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise missing(key) from None
        return _pieces(file, start, end)

    def size(self, key: str) -> int | None:
        try:
            with self._path(checked(key)).open("rb", buffering=0) as file:
                _record_use(file)
                return os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        path = self._path(checked(key))
        path.unlink(missing_ok=True)
        if key.count("/") > 1:
            with suppress(OSError):  # other members are in it
                path.parent.rmdir()

    def keys(self, prefix: str = "") -> Iterator[Stored]:
        space, _, rest = checked_prefix(prefix).partition("/")
        if is_whole(prefix) and (path := self._path(prefix)).is_file():
            yield from filter(None, [_seen(path, prefix, prefix)])
            return
        for each in _names(self._root):
            if each != _ASIDE and each.startswith(space):
                yield from _below(self._root / each, each, rest, prefix)

    def _path(self, key: str) -> Path:
        space, _, name = key.partition("/")
        return self._root / space / name[:_SPREAD] / name


def _below(space: Path, name: str, rest: str, prefix: str) -> Iterator[Stored]:
    for spread in _names(space):
        if spread.startswith(rest[:_SPREAD]):
            yield from _of_spread(space / spread, name, prefix)


def _of_spread(folder: Path, space: str, prefix: str) -> Iterator[Stored]:
    for name in _names(folder):
        key = f"{space}/{name}"
        if not (f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/")):
            continue
        if (folder / name).is_dir():
            yield from (
                seen for each in _names(folder / name) if (seen := _seen(folder / name / each, f"{key}/{each}", prefix))
            )
        elif seen := _seen(folder / name, key, prefix):
            yield seen


def _seen(path: Path, key: str, prefix: str) -> Stored | None:
    try:
        status = path.stat()
    except FileNotFoundError:  # somebody removed it meanwhile
        return None
    return Stored(key, status.st_size, status.st_mtime) if key.startswith(prefix) else None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _write(file: BinaryIO, chunks: Iterable[bytes]) -> int:
    size = 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:  # an unbuffered file may take less than it is given
            rest = rest[file.write(rest) :]
        size += len(chunk)
    return size


def _move(aside: Path, path: Path) -> None:
    """Give a file its name, durably. Its folder may be missing, and be removed at any moment while it is empty."""
    for left in reversed(range(_TRIES)):
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # says that it exists when it goes while we look
            files.put_in_place(aside, path)
            return
        except (FileNotFoundError, FileExistsError):
            if not left:
                raise


def _pieces(file: BinaryIO, start: int, end: int | None) -> Iterator[bytes]:
    with file:
        file.seek(start)
        left = end - start if end is not None else 1 << 62
        while left > 0 and (piece := file.read(min(PIECE, left))):
            left -= len(piece)
            yield piece


def _record_use(file: BinaryIO) -> None:
    now = time.time()
    if now - os.fstat(file.fileno()).st_mtime > _HOUR:
        with suppress(OSError):  # a folder that may only be read serves as well
            os.utime(file.fileno(), (now, now))


def _remove_left(aside: Path) -> None:
    """Remove what writers left that were killed: those that live hold locks."""
    for path in aside.iterdir():
        with suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if time.time() - os.fstat(file.fileno()).st_mtime > 1:  # one that was made this moment is locked soon
                path.unlink(missing_ok=True)
