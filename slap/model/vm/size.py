"""Amounts of memory and of disk as people write them."""

import re
from typing import Any

_SIZE = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,3}))? ?([KMGT]i?B?|B)?", re.IGNORECASE)
_POWERS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
MIB = 1 << 20
GIB = 1 << 30


def read_size(said: Any, unit: int) -> int:
    """Bytes, of "1 GiB", "512M" or a number of units; GB and GiB mean the same, as qemu and SlapOS have it.

    Raises ValueError for anything else.
    """
    if isinstance(said, bool) or not isinstance(said, int | str):
        raise ValueError("write a size such as 1 GiB")
    match = _SIZE.fullmatch(str(said).strip())
    if match is None:
        raise ValueError(f"{said!r} is no size: write one such as 1 GiB")
    whole, part, name = match.groups()
    factor = 1 << 10 * _POWERS[name[0].lower()] if name else unit
    return int(whole) * factor + (int(part) * factor // 10 ** len(part) if part else 0)


def in_words(size: int) -> str:
    """Bytes for people."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", GIB), ("MiB", MIB), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} B"
