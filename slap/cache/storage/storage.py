"""What a cache needs of the place where its bytes lie."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from slap.model.errors import InvalidInput, NotFound

# SPACE/NAME, or SPACE/NAME/MEMBER: lower case, so that no two keys are one file anywhere, and no way out of the folder.
_KEY = re.compile(r"[a-z]{1,16}/[a-z0-9]{8,128}(/[a-z0-9][a-z0-9-]{0,127})?")
_LONGEST = re.compile(r"[a-z]{1,16}/[a-z0-9]{128}")
_PREFIX = re.compile(r"[a-z0-9/-]*")

# Of what is read, in bytes: for a reader that is slow a few of them are held.
PIECE = 256 << 10


@dataclass(frozen=True)
class Stored:
    """An object: its size in bytes, and when it was last stored or asked for, in seconds since the epoch."""

    key: str
    size: int
    last_used: float


class Storage(Protocol):
    """Objects under keys. They are whole or not there, whoever is killed and whoever else writes at the same moment.

    Keys are of the form SPACE/NAME or SPACE/NAME/MEMBER. Methods block, and may be called by many threads at once.
    """

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        """Store an object, in place of one that was there; its size.

        What `chunks` raises is passed on, and nothing is stored.
        """

    def get(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to before `end`, in pieces of at most 256 KiB; or NotFound at once. That is no use."""

    def size(self, key: str) -> int | None:
        """The size of an object, or None for none. Who asks relies on it from now on: that is a use."""

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

    def keys(self, prefix: str = "") -> Iterator[Stored]:
        """All objects whose keys begin so, in the order of their keys; that is no use. Costs as much as there are of them."""


def checked(key: str) -> str:
    """The key itself; raises InvalidInput for what is none."""
    if not _KEY.fullmatch(key):
        raise InvalidInput(f"{key[:200]!r} is not the name of an object.", "It has to be like blob/DIGEST.")
    return key


def checked_prefix(prefix: str) -> str:
    if not _PREFIX.fullmatch(prefix):
        raise InvalidInput(f"{prefix[:200]!r} is not the beginning of the name of an object.")
    return prefix


def is_whole(prefix: str) -> bool:
    """Whether one object may have this very key, and no other one a longer key that is not below it: no list is needed."""
    return bool(_LONGEST.fullmatch(prefix))


def missing(key: str) -> NotFound:
    return NotFound(f"There is no {key}.", "It was never stored, or was removed as garbage.")
