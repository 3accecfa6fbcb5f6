"""Archives from elsewhere, unpacked so that nothing in them can reach outside of the folder, or become more than a file."""

import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from slap.model.errors import InvalidInput
from slap.system import ar

MOST_BYTES = 16 << 30  # of one archive, unpacked
MOST_MEMBERS = 1_000_000
_LONGEST_NAME = 255  # bytes of a file's name, on all usual file systems
# Seconds from 1970 that all usual file systems can keep.
_FARTHEST = 1 << 33
_ZIPS = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")
# What the libraries raise for what is damaged or hostile: numbers that are none, encryption, sizes that cannot be.
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, EOFError, ar.NotAnAr, lzma.LZMAError, zlib.error, ValueError, LookupError,
    OverflowError, struct.error, NotImplementedError, RuntimeError,
)  # fmt: skip

Opener = Callable[[], IO[bytes]]
Rename = Callable[[str], str]


class UnsafeArchive(InvalidInput):
    """A member would leave the folder, is a device, or leads through a link."""

    kind = "unsafe-archive"


class BrokenArchive(InvalidInput):
    """Not an archive of a known kind, or a damaged one."""

    kind = "broken-archive"


class Kind(Enum):
    FOLDER = auto()
    FILE = auto()
    SYMLINK = auto()
    HARDLINK = auto()
    OTHER = auto()  # devices, pipes, sockets


@dataclass(frozen=True)
class Member:
    """What an archive says of one of its members; `link` is where a link points to."""

    name: str
    kind: Kind
    size: int = 0
    executable: bool = False
    link: str = ""
    modified: float | None = None
    open: Opener | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Unpacking:
    """How to unpack: leading folders to drop, names to change, and whether absolute links mean the archive's own root."""

    strip: int = 0
    rename: Rename = str
    rebase_links: bool = False
    most_bytes: int = MOST_BYTES
    most_members: int = MOST_MEMBERS


def unpack(archive: Path, folder: Path, how: Unpacking | None = None) -> None:
    """Unpack a tar (gzip, bzip2, xz), zip, wheel or deb into a folder that exists.

    Owners, setuid bits and write permissions for others are dropped: files come out as 644 or 755. Raises UnsafeArchive
    or BrokenArchive; the folder may then hold a part of it, so unpack aside.
    """
    with _readable(archive) as members:
        unpack_members(members, folder, how or Unpacking(), archive.name)


def unpack_members(members: Iterator[Member], folder: Path, how: Unpacking, archive: str) -> None:
    """Write members below a folder, each judged before it is written, and all links judged again when all is there."""
    target = _Target(folder.resolve(), archive)
    for number, member in enumerate(members):
        if number >= how.most_members:
            raise target.refusal("it", f"has more than {how.most_members} members")
        wanted = _as_wanted(member, how)
        if wanted:
            target.write(wanted, how)
    target.check_links()


def objection(member: Member) -> str:
    """Why a member must not be unpacked, from what it says of itself; empty when there is nothing against it."""
    if _is_absolute(member.name) or ".." in _parts(member.name):
        return "would be written outside of the folder"
    if "\0" in member.name + member.link or any(len(os.fsencode(part)) > _LONGEST_NAME for part in _parts(member.name)):
        return "has a name that no file can have"
    if member.kind is Kind.OTHER:
        return "is a device, a pipe or a socket"
    if member.kind is Kind.HARDLINK and (_is_absolute(member.link) or ".." in _parts(member.link)):
        return f"links to {member.link}, outside of the folder"
    if member.kind is Kind.SYMLINK and _leaves(member):
        return f"links to {member.link}, outside of the folder"
    return ""


def _leaves(member: Member) -> bool:
    pointed = os.path.normpath(os.path.join(os.path.dirname(member.name), member.link))
    return _is_absolute(member.link) or pointed == ".." or pointed.startswith("../")


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name).parts


def _is_absolute(name: str) -> bool:
    return name.startswith("/")


def _as_wanted(member: Member, how: Unpacking) -> Member | None:
    """The member by the name that it shall have; None for those that `strip` drops whole, and for the root itself.

    A name that is not within the archive stays as it is, for it to be refused by that name.
    """
    if _is_absolute(member.name) or ".." in _parts(member.name):
        return member
    name = _renamed(member.name, how)
    link = _renamed(member.link, how) if member.kind is Kind.HARDLINK and not objection(member) else member.link
    if (
        how.rebase_links
        and member.kind is Kind.SYMLINK
        and (_is_absolute(link) or name != str(PurePosixPath(member.name)))
    ):
        link = _rebased(member, name, how)
    if name == ".":
        return None
    return Member(name, member.kind, member.size, member.executable, link, member.modified, member.open)


def _rebased(member: Member, name: str, how: Unpacking) -> str:
    """Where a link points to once both its ends have their new names; above the archive's root there is nothing."""
    pointed = os.path.normpath(os.path.join("/", os.path.dirname(member.name), member.link))
    return os.path.relpath(how.rename(pointed.lstrip("/") or "."), os.path.dirname(name) or ".")


def _renamed(name: str, how: Unpacking) -> str:
    return how.rename(str(PurePosixPath(*_parts(name)[how.strip :])))


class _Target:
    """The folder that is written to, and what was written there so far."""

    def __init__(self, root: Path, archive: str) -> None:
        self._root = root
        self._archive = archive
        self._bytes = 0
        self._links: list[tuple[str, Path]] = []
        self._folders = {root}

    def write(self, member: Member, how: Unpacking) -> None:
        words = objection(member)
        if words:
            raise self.refusal(member.name, words)
        path = self._root / member.name
        self._make_folder(path if member.kind is Kind.FOLDER else path.parent, member.name)
        self._bytes += member.size
        if self._bytes > how.most_bytes:
            raise self.refusal(member.name, f"makes it larger than {how.most_bytes} bytes")
        _WRITERS[member.kind](self, member, path)

    def refusal(self, name: str, words: str) -> UnsafeArchive:
        return UnsafeArchive(
            f"{self._archive} is not safe to unpack.",
            f"{name!r} {words}." if name != "it" else f"It {words}.",
            "Check where this archive came from; nothing of it was installed.",
        )

    def check_links(self) -> None:
        """A link that looked harmless by itself may lead out through another one."""
        for name, path in self._links:
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(self._root):
                raise self.refusal(name, "leads outside of the folder through another link")

    def write_file(self, member: Member, path: Path) -> None:
        self._clear(path, member.name)
        mode = 0o755 if member.executable else 0o644
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            if member.open:
                with member.open() as content:
                    self._copy(content, file, member)
        if member.modified is not None and abs(member.modified) < _FARTHEST:  # others are no times
            os.utime(path, (member.modified, member.modified))

    def write_symlink(self, member: Member, path: Path) -> None:
        self._clear(path, member.name)
        path.symlink_to(member.link)
        self._links.append((member.name, path))

    def write_hardlink(self, member: Member, path: Path) -> None:
        source = self._root / member.link
        self._make_folder(source.parent, member.name)
        if not (os.path.lexists(source) and stat.S_ISREG(source.lstat().st_mode)):
            raise self.refusal(member.name, f"links to {member.link}, which is not a file of this archive")
        if source != path:
            self._clear(path, member.name)
            path.hardlink_to(source)

    def write_folder(self, member: Member, path: Path) -> None:
        """Made already, as the folder that everything is written into."""

    def _copy(self, content: IO[bytes], file: IO[bytes], member: Member) -> None:
        """Never more than was announced, which is what was counted."""
        left = member.size
        while left and (chunk := content.read(min(left, 1 << 20))):
            file.write(chunk)
            left -= len(chunk)
        if left or content.read(1):
            raise BrokenArchive(f"{self._archive} is damaged.", f"{member.name!r} is not as long as it says.")

    def _make_folder(self, folder: Path, name: str) -> None:
        """The folder and those above it, all real: nothing is written through a link."""
        if folder in self._folders:
            return
        self._make_folder(folder.parent, name)
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise self.refusal(name, f"lies below {folder.relative_to(self._root)}, which is not a folder")
        if not folder.exists():
            folder.mkdir()
        folder.chmod(0o755)
        self._folders.add(folder)

    def _clear(self, path: Path, name: str) -> None:
        """A later member replaces an earlier one, but a file never a folder."""
        if path.is_dir() and not path.is_symlink():
            raise self.refusal(name, "would replace a folder")
        path.unlink(missing_ok=True)


_WRITERS: dict[Kind, Callable[[_Target, Member, Path], None]] = {
    Kind.FILE: _Target.write_file,
    Kind.FOLDER: _Target.write_folder,
    Kind.SYMLINK: _Target.write_symlink,
    Kind.HARDLINK: _Target.write_hardlink,
}


@contextmanager
def _readable(archive: Path) -> Iterator[Iterator[Member]]:
    """The members of an archive, by what its first bytes say that it is."""
    try:
        with _opened(archive) as members:
            yield members
    except _BROKEN as error:
        raise BrokenArchive(
            f"{archive.name} cannot be unpacked.", str(error), "Check its URL and its digest."
        ) from error


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[Member]]:
    kind = _kind(archive)
    if kind == "deb":
        with archive.open("rb") as file, tarfile.open(fileobj=ar.member(file, "data.tar"), mode="r|*") as tar:
            yield _tar_members(tar)
    elif kind == "zip":
        with zipfile.ZipFile(archive) as packed:
            yield _zip_members(packed, packed.infolist())
    else:
        with tarfile.open(archive, mode="r|*") as tar:
            yield _tar_members(tar)


def _kind(path: Path) -> str:
    """What its beginning says: a tar may end with a zip. A zip with a program before it begins as nothing that is known."""
    with path.open("rb") as file:
        begin = file.read(len(ar.MAGIC))
    if begin == ar.MAGIC:
        return "deb"
    is_zip = begin.startswith(_ZIPS) or (not tarfile.is_tarfile(path) and zipfile.is_zipfile(path))
    return "zip" if is_zip else "tar"


def _tar_members(tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        yield Member(
            info.name, _tar_kind(info), info.size if info.isreg() else 0, bool(info.mode & 0o111), info.linkname,
            info.mtime, partial(_tar_content, tar, info),
        )  # fmt: skip


def _tar_kind(info: tarfile.TarInfo) -> Kind:
    known = {tarfile.DIRTYPE: Kind.FOLDER, tarfile.SYMTYPE: Kind.SYMLINK, tarfile.LNKTYPE: Kind.HARDLINK}
    return Kind.FILE if info.isreg() else known.get(info.type, Kind.OTHER)


def _tar_content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(info)
    if content is None:
        raise BrokenArchive(f"{info.name} has no content.")
    return content


def _zip_members(packed: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo]) -> Iterator[Member]:
    for info in infos:
        mode = info.external_attr >> 16
        kind = Kind.FOLDER if info.is_dir() else _unix_kind(mode)
        link = packed.read(info).decode() if kind is Kind.SYMLINK and info.file_size < 4096 else ""
        size = 0 if kind is Kind.SYMLINK else info.file_size
        yield Member(info.filename, kind, size, bool(mode & 0o111), link, open=partial(packed.open, info))


def _unix_kind(mode: int) -> Kind:
    """Zip files made elsewhere than on Unix have no type at all: those are files."""
    known = {stat.S_IFREG: Kind.FILE, 0: Kind.FILE, stat.S_IFLNK: Kind.SYMLINK, stat.S_IFDIR: Kind.FOLDER}
    return known.get(stat.S_IFMT(mode), Kind.OTHER)
