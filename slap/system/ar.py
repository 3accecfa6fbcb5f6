"""The ar format, as far as Debian packages use it: a magic line, then members with a header of 60 bytes each."""

import io
from typing import IO

MAGIC = b"!<arch>\n"


class NotAnAr(ValueError):
    """The file is not an ar archive, or lacks the member that was asked for."""


def member(file: IO[bytes], prefix: str) -> IO[bytes]:
    """A readable view of the first member whose name starts with a prefix; reads nothing of its content yet."""
    if file.read(len(MAGIC)) != MAGIC:
        raise NotAnAr("not an ar archive")
    while header := file.read(60):
        name, size = _parse(header)
        if name.startswith(prefix):
            if name.endswith(".zst"):
                raise NotAnAr(f"{name} is packed with zstd, which Python cannot read; Debian's own packages use xz")
            return io.BufferedReader(_Window(file, size))
        file.seek(size + size % 2, io.SEEK_CUR)
    raise NotAnAr(f"has no {prefix}")


def _parse(header: bytes) -> tuple[str, int]:
    size = header[48:58].decode("ascii", "replace").strip()
    if len(header) != 60 or header[58:] != b"`\n" or not size.isdigit():
        raise NotAnAr("damaged header")
    return header[:16].decode("ascii", "replace").strip().rstrip("/"), int(size)


class _Window(io.RawIOBase):
    """A stretch of a file, from where it stands."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)
