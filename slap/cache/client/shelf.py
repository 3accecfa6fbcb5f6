"""Chunks that are here already: what a version brought is not fetched again for the next one."""

import os
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from slap.model.cache import Sha512
from slap.system import files

_HOUR = 3600.0


class Shelf:
    """Chunks as files by their digests. Nothing in it is believed: who takes a chunk looks at its digest.

    So a write needs no fsync; one that a crash cut off is found out, and fetched again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        files.make_folder(folder, 0o700)

    def get(self, sha512: Sha512) -> bytes | None:
        try:
            with open(self._path(sha512), "rb", buffering=0) as file:
                if time.time() - os.fstat(file.fileno()).st_mtime > _HOUR:
                    os.utime(file.fileno())
                return file.read()
        except OSError:
            return None

    def put(self, sha512: Sha512, content: bytes) -> None:
        """Keep a chunk, if there is room; nothing depends on it."""
        path = self._path(sha512)
        aside = f"{path.parent}/.{token_hex(8)}"
        try:
            _write(aside, content)
            os.replace(aside, path)
        except OSError:
            with suppress(OSError):
                os.unlink(aside)

    def drop(self, sha512: Sha512) -> None:
        self._path(sha512).unlink(missing_ok=True)

    def trim(self, limit: int) -> None:
        """Remove what was used longest ago, until at most `limit` bytes are left. Costs as much as there are chunks."""
        found = sorted(self._all(), key=lambda each: each[0])
        excess = sum(size for _, size, _ in found) - limit
        for _, size, path in found:
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size

    def _all(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self._folder.glob("*/*"):
            with suppress(FileNotFoundError):
                seen = path.stat()
                found.append((seen.st_mtime, seen.st_size, path))
        return found

    def _path(self, sha512: Sha512) -> Path:
        return self._folder / sha512[:2] / sha512


def _write(path: str, content: bytes) -> None:
    """By the calls of the system itself: there are thousands of chunks, and mostly their folder is there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        Path(path).parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]
