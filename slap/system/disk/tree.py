"""What a file system shall hold, item by item, and that as a folder or as a cpio archive."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

_ALIGNED = 4
_TRAILER = "TRAILER!!!"


@dataclass(frozen=True)
class Item:
    """A file with its content or where that is, a link to somewhere, or a folder when there is neither."""

    path: str  # without a slash at the beginning
    content: bytes | Path | None = None
    link: str = ""
    mode: int = 0o755

    def data(self) -> bytes:
        if self.link:
            return self.link.encode()
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content or b""

    @property
    def full_mode(self) -> int:
        if self.link:
            return stat.S_IFLNK | 0o777
        return (stat.S_IFDIR if self.content is None else stat.S_IFREG) | self.mode


def with_folders(items: Iterable[Item]) -> list[Item]:
    """The items in the order of their paths, with the folders that they lie in."""
    found = {item.path: item for item in items}
    for path in list(found):
        for folder in PurePosixPath(path).parents:
            found.setdefault(str(folder), Item(str(folder)))
    found.pop(".", None)
    return [found[path] for path in sorted(found)]


def write_tree(items: Iterable[Item], folder: Path, time: int) -> None:
    """Make the items in a folder, all of one age."""
    folder.mkdir(parents=True)
    written = with_folders(items)
    for item in written:
        _write(item, folder / item.path)
    for item in reversed(written):
        os.utime(folder / item.path, (time, time), follow_symlinks=False)
    os.utime(folder, (time, time))


def cpio(items: Iterable[Item]) -> bytes:
    """The items as the kernel unpacks them into its memory (initramfs, format newc); all belong to root."""
    archive = BytesIO()
    for number, item in enumerate(with_folders(items), 1):
        _append(archive, item.path, (number, item.full_mode), item.data())
    _append(archive, _TRAILER, (0, 0), b"")
    return archive.getvalue()


def _write(item: Item, path: Path) -> None:
    if item.link:
        path.symlink_to(item.link)
    elif item.content is None:
        path.mkdir()
        path.chmod(item.mode)
    else:
        path.write_bytes(item.data())
        path.chmod(item.mode)


def _append(archive: BytesIO, name: str, inode: tuple[int, int], data: bytes) -> None:
    number, mode = inode
    encoded = name.encode() + b"\0"
    # inode, mode, user, group, links, time, size, four numbers of devices, length of the name, checksum
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    archive.write(b"070701" + b"".join(b"%08x" % field for field in fields) + encoded)
    _align(archive)
    archive.write(data)
    _align(archive)


def _align(archive: BytesIO) -> None:
    archive.write(b"\0" * (-archive.tell() % _ALIGNED))
