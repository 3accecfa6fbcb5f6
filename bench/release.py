"""A software release of some size, made of real files of this machine, and its next version.

Three fifths of the bytes are from this project's own environment, which is what a release of Python software is: packages,
their bytecode, shared objects. The rest is shared libraries of the system. What is chosen depends on names alone.
"""

import os
import random
import shutil
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PYTHON, SYSTEM = Path(__file__).resolve().parent.parent / ".venv/lib", Path("/usr/lib")
PYTHON_SHARE = 0.6
CHANGED = 0.05  # of the bytes of the next version are in files that differ
UPGRADED = 0.8  # of these, so much by files that are new throughout; the others have one line more
_BLOCK = 4096


class Chosen(NamedTuple):
    """A file of the release: where it comes from, its path there, and which copy of it this is."""

    source: Path
    path: str
    copy: int

    @property
    def name(self) -> str:
        """Bytecode is under another name: an archive writes a time of its own into its header, and here contents are
        compared byte by byte."""
        return f"{'again' * self.copy}{self.path.replace('.pyc', '.bytecode')}"

    @property
    def package(self) -> str:
        """What is upgraded at once: a package of Python with its bytecode, or one library of the system."""
        return "/".join(self.name.split("/")[:4])


def make(folder: Path, size: int) -> int:
    """Fill a folder with about so many bytes; how many files it has."""
    count = 0
    for chosen in _files(size):
        content = chosen.source.read_bytes()
        target = folder / chosen.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_recompiled(content, chosen.copy) if chosen.copy else content)
        target.chmod(0o755 if chosen.source.stat().st_mode & stat.S_IXUSR else 0o644)
        count += 1
    return count


def change(folder: Path, into: Path, size: int) -> int:
    """A copy in which a twentieth of the bytes is in files that differ: some packages are new throughout, and of some files
    elsewhere each has one line more; how many bytes all these files have."""
    shutil.copytree(folder, into)
    files, changed = list(_files(size)), 0
    for chosen in sorted(files, key=lambda each: _order(each.package)):
        if changed >= UPGRADED * CHANGED * size:
            break
        changed += _rewrite(into / chosen.name, lambda content: _recompiled(content, 9))
    for chosen in sorted(files, key=lambda each: _order(f"one line more {each.name}")):
        if changed >= CHANGED * size:
            break
        changed += _rewrite(into / chosen.name, _longer)
    return changed


def _order(name: str) -> int:
    """Always the same, and no other one."""
    return zlib.crc32(name.encode())


def _rewrite(path: Path, change: Callable[[bytes], bytes]) -> int:
    content = path.read_bytes()
    path.write_bytes(change(content))
    return len(content)


def _files(size: int) -> Iterator[Chosen]:
    yield from _some(PYTHON, int(size * PYTHON_SHARE))
    yield from _some(SYSTEM, int(size * (1 - PYTHON_SHARE)))


def _some(root: Path, size: int) -> Iterator[Chosen]:
    """Files below a folder until they have so many bytes; when there are not enough, all of them once more."""
    found = sorted(_below(root), key=lambda each: _order(each[0]))
    copy = 0
    while found:
        for path, length in found:
            if size <= 0:
                return
            if length <= size:
                yield Chosen(root / path, f"{root.name}-{root.parent.name.strip('.')}/{path}", copy)
                size -= length
        if size < min(length for _, length in found):
            return
        copy += 1


def _below(root: Path) -> Iterator[tuple[str, int]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            seen = path.lstat()
            if stat.S_ISREG(seen.st_mode) and 0 < seen.st_size < 64 << 20 and seen.st_mode & stat.S_IROTH:
                yield str(path.relative_to(root)), seen.st_size


def _recompiled(content: bytes, seed: int) -> bytes:
    """Different in each block of 4 KiB, as what another compiler made of the same source."""
    chosen, changed = random.Random(seed), bytearray(content)
    for start in range(0, len(changed), _BLOCK):
        changed[start + chosen.randrange(min(_BLOCK, len(changed) - start))] ^= 0xFF
    return bytes(changed)


def _longer(content: bytes) -> bytes:
    return content[: len(content) // 2] + b"# changed\n" + content[len(content) // 2 :]


def main(old: str, new: str, size: str) -> None:
    """Both versions; prints how many files there are, and which share of the bytes changes."""
    files = make(Path(old), int(size))
    print(files, change(Path(old), Path(new), int(size)) / int(size))


if __name__ == "__main__":
    main(*sys.argv[1:])
