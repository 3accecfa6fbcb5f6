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


def normal_header(path: str, header: bytes) -> bytes | None:
    """The beginning of a .pyc as it is packed; None for one that Python would not use."""
    if len(header) < HEADER or header[4:8] != _BY_TIME:
        return header
    source = _source(path)
    if source and not _is_of(source, header):
        return None
    return header[:8] + TIME.to_bytes(4, "little") + header[12:]


def _source(path: str) -> str:
    """The file that a .pyc in a __pycache__ was compiled from; others are used without their source."""
    pure = PurePath(path)
    return str(pure.parent.parent / f"{pure.name.split('.')[0]}.py") if pure.parent.name == "__pycache__" else ""


def _is_of(source: str, header: bytes) -> bool:
    try:
        seen = os.stat(source)
    except OSError:
        return False
    expected = (int(seen.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + (seen.st_size & 0xFFFFFFFF).to_bytes(
        4, "little"
    )
    return header[8:16] == expected
