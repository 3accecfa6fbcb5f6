"""Errors of packing and unpacking; hostile and damaged archives raise the same errors as in slap.system.archive."""

from slap.model.errors import Conflict, SlapError
from slap.system.archive import BrokenArchive, UnsafeArchive

__all__ = ["BrokenArchive", "CannotPack", "CannotUnpack", "ElsewhereOnly", "UnsafeArchive"]

_RESOLUTION = "Nothing of it was installed; build from source, and look at the cache that it came from."


class CannotPack(SlapError):
    """A folder holds what no archive can hold, or changed while it was packed."""

    kind = "cannot-pack"


class CannotUnpack(SlapError):
    """This machine could not write what was in the archive: a full disk, missing permissions."""

    kind = "cannot-unpack"


class ElsewhereOnly(Conflict):
    """Files of the archive name the place that they were built for, which is another one."""

    kind = "elsewhere-only"


def unsafe(name: bytes, words: str) -> UnsafeArchive:
    return UnsafeArchive(
        "The archive is not safe to unpack.", f"{name.decode(errors='backslashreplace')!r} {words}.", _RESOLUTION
    )


def broken(words: str) -> BrokenArchive:
    return BrokenArchive("The archive is damaged.", words, _RESOLUTION)
