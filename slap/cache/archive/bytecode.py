"""Compiled Python, in a form that does not tell when it was built.

A .pyc file names the time and the size of its source. All files of an archive have the same time, so that time goes into
it: it stays good where it is unpacked. What was not good any more is left out.
"""

import os
from pathlib import PurePath

from slap.cache.archive.member import TIME

HEADER = 16
_BY_TIME = bytes(4)  # the flags of a file that names time and size, and not a digest


def is_bytecode(name: str) -> bool:
    return name.endswith(".pyc")


def normal_header(name: str, header: bytes, above: int | None) -> bytes | None:
    """The beginning of a .pyc as it is packed; None for one that Python would not use.

    `name` is its path in the archive; `above` is a descriptor of the folder above the one that it lies in.
    """
    if len(header) < HEADER or header[4:8] != _BY_TIME:
        return header
    pure = PurePath(name)
    # What a .pyc in a __pycache__ was compiled from lies above it; others are used without their source.
    if pure.parent.name == "__pycache__" and not _is_of(f"{pure.name.split('.')[0]}.py", above, header):
        return None
    return header[:8] + TIME.to_bytes(4, "little") + header[12:]


def _is_of(source: str, folder: int | None, header: bytes) -> bool:
    try:
        seen = os.stat(source, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    expected = (int(seen.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + (seen.st_size & 0xFFFFFFFF).to_bytes(
        4, "little"
    )
    return header[8:16] == expected
