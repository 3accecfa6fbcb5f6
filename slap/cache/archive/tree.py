"""A folder as the stream of bytes of a tar: sorted by name, without owners, with one time and two modes."""

import os
import stat
from collections.abc import Iterator, Set
from contextlib import contextmanager
from operator import itemgetter
from typing import NoReturn

from slap.cache.archive.bytecode import HEADER, is_bytecode, normal_header
from slap.cache.archive.errors import CannotPack
from slap.cache.archive.header import END, encode, padding
from slap.cache.archive.member import Member, MemberKind, Place, rejection_reason
from slap.system.trust.folders import FILE_FLAGS, FOLDER_FLAGS, may_show, opened

_PIECE = 1 << 18


class Tree:
    """What is packed: the folder, but for some paths in it that are somebody else's.

    Root packs what the folder's owner may change meanwhile: everything is opened below its folder, and no link is followed.
    """

    def __init__(self, folder: str, place: Place, without: Set[str]) -> None:
        self._folder = folder
        self._place = place
        self._without = {os.fsencode(name) for name in without}
        self._owner = 0
        self._linked: dict[tuple[int, int], bytes] = {}  # by device and inode the first name of files that have several

    def stream(self) -> Iterator[bytes]:
        """All of the tar, piece by piece."""
        with opened(self._folder) as top:
            self._owner = os.fstat(top).st_uid
            yield from self._below(top, None, b"")
        yield END

    def _below(self, folder: int, above: int | None, prefix: bytes) -> Iterator[bytes]:
        with os.scandir(folder) as found:
            entries = sorted(((prefix + os.fsencode(each.name), each) for each in found), key=itemgetter(0))
        for name, entry in entries:
            if name not in self._without:
                yield from self._entry(entry, name, folder, above)

    def _entry(self, entry: os.DirEntry[str], name: bytes, folder: int, above: int | None) -> Iterator[bytes]:
        seen = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(seen.st_mode):
            yield self._header(Member(name, MemberKind.FOLDER))
            with self._opened(entry.name, FOLDER_FLAGS, folder, name) as inner:
                yield from self._below(inner, folder, name + b"/")
        elif stat.S_ISLNK(seen.st_mode):
            link = os.fsencode(os.readlink(entry.name, dir_fd=folder))
            yield self._header(Member(name, MemberKind.SYMLINK, link=link))
        elif stat.S_ISREG(seen.st_mode):
            yield from self._file(entry.name, name, folder, above)
        else:
            self._refuse(name, "is a device, a pipe or a socket")

    def _file(self, last: str, name: bytes, folder: int, above: int | None) -> Iterator[bytes]:
        with self._opened(last, FILE_FLAGS, folder, name) as file:
            seen = os.fstat(file)
            if not stat.S_ISREG(seen.st_mode):
                self._refuse(name, "was exchanged while it was packed")
            first = self._linked.get((seen.st_dev, seen.st_ino)) if seen.st_nlink > 1 else None
            if first is not None:
                yield self._header(Member(name, MemberKind.HARDLINK, link=first))
                return
            begin = os.read(file, min(HEADER, seen.st_size)) if is_bytecode(last) else b""
            normal = normal_header(os.fsdecode(name), begin, above) if begin else b""
            if normal is None:
                return
            if seen.st_nlink > 1:
                self._linked[(seen.st_dev, seen.st_ino)] = name
            yield self._header(Member(name, MemberKind.FILE, seen.st_size, bool(seen.st_mode & 0o111)))
            yield from self._content(file, name, normal, seen.st_size)

    @contextmanager
    def _opened(self, last: str, flags: int, folder: int, name: bytes) -> Iterator[int]:
        """What is there now, be it what was there a moment ago or not: no link, and nothing that is not to be shown."""
        descriptor = os.open(last, flags, dir_fd=folder)
        try:
            if not may_show(os.fstat(descriptor), self._owner):
                self._refuse(name, "belongs to somebody else, who does not show it to everybody")
            yield descriptor
        finally:
            os.close(descriptor)

    def _content(self, descriptor: int, name: bytes, begin: bytes, size: int) -> Iterator[bytes]:
        yield begin
        left = size - len(begin)
        while left:
            piece = os.read(descriptor, min(left, _PIECE))
            if not piece:
                self._refuse(name, "became shorter while it was read")
            left -= len(piece)
            yield piece
        yield bytes(padding(size))

    def _header(self, member: Member) -> bytes:
        words = rejection_reason(member, self._place)
        if words:
            self._refuse(member.name, words)
        return encode(member)

    def _refuse(self, name: bytes, words: str) -> NoReturn:
        raise CannotPack(
            f"{self._folder} cannot be packed for the cache.",
            f"{os.fsdecode(name)!r} {words}.",
            "It works on this machine all the same; other machines build it from source.",
        )


class PieceReader:
    """A stream of pieces, to be read into a buffer."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer as far as there is something; how many bytes that were."""
        filled = 0
        while filled < len(buffer):
            if not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._rest = memoryview(piece)
            count = min(len(self._rest), len(buffer) - filled)
            buffer[filled : filled + count] = self._rest[:count]
            self._rest = self._rest[count:]
            filled += count
        return filled
