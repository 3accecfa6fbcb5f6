"""What a build was made of: recipes note it as they take it, the shacache tells it to whoever takes the build."""

from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, TypeAdapter

from slap.model.base import Frozen


class MaterialKind(StrEnum):
    """How a material is named and got."""

    FILE = "file"  # from a URL, or from the disk
    FOLDER = "folder"  # of sources on the disk
    PATCH = "patch"
    DEB = "deb"
    DEB_SOURCE = "deb-source"
    WHEEL = "wheel"
    NPM = "npm"
    GIT = "git"


class Material(Frozen):
    """One thing that a part was made of. `digests` are hexadecimal, by the algorithm: sha256, sha512, md5, gitCommit."""

    kind: MaterialKind
    name: str
    version: str = ""
    url: str = ""
    architecture: str = ""
    license: str = ""
    digests: dict[str, str] = Field(default_factory=dict)


# Below the folder of parts, a file for each part: NAME.json.
MATERIALS_FOLDER = ".materials"
MATERIALS: TypeAdapter[tuple[Material, ...]] = TypeAdapter(tuple[Material, ...])


def plain_url(url: str) -> str:
    """A URL as others may read it: without user, password, and what follows the path, where tokens are."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
