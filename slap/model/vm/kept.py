"""Images as a computer keeps them."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from slap.model.base import Frozen
from slap.model.vm.image import DiskFormat, Sha512


class Origin(StrEnum):
    """How an image came to a computer."""

    BUILT = "built"
    ADDED = "added"
    CACHE = "cache"
    URL = "url"

    @property
    def is_own(self) -> bool:
        """Whether somebody put it there by hand: then it goes by hand, too."""
        return self in (Origin.BUILT, Origin.ADDED)


class KeptImage(Frozen):
    """An image that is whole and was checked. This is written when all of that is done: without it there is no image."""

    sha512: Sha512
    format: DiskFormat
    virtual_size: Annotated[int, Field(gt=0)]  # bytes of the disk that a machine sees
    size: int  # bytes of the file
    at: int  # since the epoch, when it came
    origin: Origin
    source: Annotated[str, StringConstraints(max_length=2000)] = ""  # where from, in words


class ImageReference(Frozen):
    """By which image a name, or the digest of a download, is answered here."""

    sha512: Sha512


class CachedImage(Frozen):
    """What lies beside a disk in a cache: what cannot be seen from its bytes."""

    format: DiskFormat
    machine: str  # the architecture, as `uname -m` says it
