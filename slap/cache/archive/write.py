"""Write members into a fresh folder, each below a folder that was made by this very archive and is held open."""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from slap.cache.archive.errors import unsafe
from slap.cache.archive.member import TIME, Member, MemberKind, Place, rejection_reason

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TIMES = (TIME * 10**9, TIME * 10**9)


class Piece(NamedTuple):
    """Some of the content of a member, or all of it, and where in the file it belongs."""

    member: Member
    at: int
    content: bytes | memoryview


class Writer:
    """Takes members in ascending order of their names, as they are packed.

    So none can come twice, and a folder always comes before what is in it, without that any name is remembered. No path
    is looked up from the root again: a name that became a link meanwhile leads nowhere.
    """

    def __init__(self, folder: str, place: Place) -> None:
        self._there = place
        self._last: list[bytes] = []
        self._names: list[bytes] = []  # of the folders that are open, one in the other
        self._descriptors = [os.open(folder, _FOLDER)]
        self._file: int | None = None  # that is being written

    def close(self) -> None:
        self._leave(0)
        os.close(self._descriptors.pop())
        if self._file is not None:
            os.close(self._file)

    def write(self, pieces: Iterable[Piece]) -> None:
        """The pieces of one member come one after the other, before those of the next one."""
        for member, at, content in pieces:
            if not at:
                self._place(member)
            if self._file is not None:
                _write(self._file, content)
                if at + len(content) == member.size:
                    self._finish(self._file, member)

    def _place(self, member: Member) -> None:
        """Make a member; a file is left open for its content."""
        words = rejection_reason(member, self._there)
        if words:
            raise unsafe(member.name, words)
        parts = self._enter(member)
        name, folder = parts[-1], self._descriptors[-1]
        try:
            if member.kind is MemberKind.FILE:
                self._file = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
            else:
                self._make(member, name, folder)
        except FileExistsError:  # on a disk that does not tell upper case from lower case
            raise unsafe(member.name, "has a name that is taken already") from None

    def _finish(self, file: int, member: Member) -> None:
        os.fchmod(file, 0o755 if member.executable else 0o644)
        os.utime(file, ns=_TIMES)
        self._file = None
        os.close(file)

    def _enter(self, member: Member) -> list[bytes]:
        """Be in the folder where a member belongs."""
        parts = member.name.split(b"/")
        if parts <= self._last:
            raise unsafe(member.name, "comes twice, or too late")
        self._last = parts
        if parts[:-1] != self._names:
            self._leave(len(parts) - 1)
            if parts[:-1] != self._names:
                raise unsafe(member.name, "does not lie in a folder of this archive")
        return parts

    def _leave(self, depth: int) -> None:
        while len(self._names) > depth:
            self._names.pop()
            os.close(self._descriptors.pop())

    def _make(self, member: Member, name: bytes, folder: int) -> None:
        if member.kind is MemberKind.FOLDER:
            os.mkdir(name, 0o755, dir_fd=folder)
            self._descriptors.append(os.open(name, _FOLDER, dir_fd=folder))
            self._names.append(name)
            os.fchmod(self._descriptors[-1], 0o755)
        elif member.kind is MemberKind.SYMLINK:
            os.symlink(member.link, name, dir_fd=folder)
            os.utime(name, ns=_TIMES, dir_fd=folder, follow_symlinks=False)
        else:
            self._link(member, name, folder)

    def _link(self, member: Member, name: bytes, folder: int) -> None:
        *above, last = member.link.split(b"/")
        source = os.dup(self._descriptors[0])
        try:
            with suppress(FileNotFoundError, NotADirectoryError):
                for part in above:
                    source = _exchange(source, part)
                if stat.S_ISREG(os.stat(last, dir_fd=source, follow_symlinks=False).st_mode):
                    os.link(last, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
                    return
        finally:
            os.close(source)
        raise unsafe(member.name, "is a hard link to what is no earlier file of the archive")


def _write(file: int, content: bytes | memoryview) -> None:
    while content:
        content = content[os.write(file, content) :]


def _exchange(folder: int, name: bytes) -> int:
    """The folder of that name in another one, in the place of that one."""
    inner = os.open(name, _FOLDER, dir_fd=folder)
    os.close(folder)
    return inner
