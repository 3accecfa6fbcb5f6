"""Which part of a blob a Range header wants. Pure."""

import re
from dataclasses import dataclass

from slap.model.errors import InvalidInput

# One range; what wants several is given all, which a server may do.
_ONE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


class BadRange(InvalidInput):
    """There is nothing where the range is."""

    http_status = 416

    def __init__(self, size: int) -> None:
        super().__init__("The blob has no such range.", f"It has {size} bytes.")
        self.size = size


@dataclass(frozen=True)
class Span:
    """From `start` to before `end` of `size` bytes."""

    start: int
    end: int
    size: int
    is_part: bool = False

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def status(self) -> int:
        return 206 if self.is_part else 200


def parse_range(header: str, size: int) -> Span:
    """Raises BadRange for one that lies outside."""
    found = _ONE.fullmatch(header.replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return Span(0, size, size)
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if start >= size or (first and last and int(last) < start) or (not first and int(last) == 0):
        raise BadRange(size)
    return Span(start, end, size, is_part=True)
