"""Images of machines: how a partition names one, and what its node tells of it.

A partition lists the images that it needs in `.slapos-images`, a JSON list of entries. The node fetches each once for all
partitions, and tells how far it is in a file that all may read: `<image_root>/state/<key of the entry>.json`.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter, model_validator

from slap.model.base import Frozen
from slap.model.cache.material import plain_url

WISH_FILE = ".slapos-images"
STATE_FOLDER = "state"

DiskFormat = Literal["qcow2", "raw"]  # qemu's words
ImageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
ImageUrl = Annotated[str, StringConstraints(pattern=r"^(https?|file)://[^\s\x00-\x1f]+$", max_length=2000)]
Sha512 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
Md5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class ImageEntry(Frozen):
    """An image by its name, or by a URL with the digest of what is there: nothing is booted unchecked.

    MD5 is for orders that SlapOS's kvm release knows, which have no other.
    """

    name: ImageName | Literal[""] = ""
    url: ImageUrl | Literal[""] = ""
    sha512: Sha512 | Literal[""] = ""
    md5: Md5 | Literal[""] = ""
    gzipped: bool = False  # what is at the URL; the digest is of that, too

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "ImageEntry":
        digests = [each for each in (self.sha512, self.md5) if each]
        if bool(self.name) == bool(self.url) or len(digests) != bool(self.url) or (self.name and self.gzipped):
            raise ValueError("an image is either a name, or a url with its sha512")
        return self

    @property
    def digest(self) -> str:
        """That of a download."""
        return self.sha512 or self.md5

    @property
    def key(self) -> str:
        """By which partition and node mean the same entry."""
        said = self.model_dump(exclude_defaults=True)
        return sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def __str__(self) -> str:
        url = plain_url(self.url)
        return self.name or url.rpartition("/")[2] or url


class FetchingImage(Frozen):
    """On its way: so many bytes of so many; a size of 0 is not known yet."""

    state: Literal["fetching"] = "fetching"
    done: int = Field(default=0, ge=0)
    size: int = Field(default=0, ge=0)


class ReadyImage(Frozen):
    """There, checked, and readable by all. It never changes and is never written to."""

    state: Literal["ready"] = "ready"
    path: Path
    sha512: Sha512
    format: DiskFormat
    virtual_size: int = Field(gt=0)  # bytes of the disk that a guest sees


class FailedImage(Frozen):
    """It cannot be had, for now, and why; the node goes on trying."""

    state: Literal["error"] = "error"
    message: str


ImageState = Annotated[FetchingImage | ReadyImage | FailedImage, Field(discriminator="state")]

_STATE: TypeAdapter[ImageState] = TypeAdapter(ImageState)


def state_file(image_root: Path, entry: ImageEntry) -> Path:
    return image_root / STATE_FOLDER / f"{entry.key}.json"


def read_state(text: str | bytes) -> ImageState:
    """Raises pydantic's ValidationError for what is none."""
    return _STATE.validate_json(text)
