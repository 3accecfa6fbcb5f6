"""The marker of a complete software release, and the fingerprint that tells its states apart."""

from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from slap.model.base import Frozen
from slap.model.errors import InvalidInput
from slap.system import files
from slap.system.trust.folders import read_below

MARKER = ".completed"


class Marker(Frozen):
    """Written last: a folder without it is an incomplete build, and no software release."""

    url: str
    fingerprint: str


def read_marker(folder: Path) -> Marker | None:
    """The marker of a complete release, or None."""
    try:
        return Marker.model_validate_json(read_below(folder, MARKER))
    except ValidationError:
        return None


def read_fingerprint(folder: Path) -> str | None:
    """The fingerprint in a complete release's marker; None for an incomplete one."""
    marker = read_marker(folder)
    return marker.fingerprint if marker else None


def compute_fingerprint(folder: Path) -> str:
    """A digest of the profiles and the buildout record of a release: all that instances depend on."""
    profiles = sorted([*folder.glob("instance*.cfg"), *folder.glob("template.cfg")])
    if not profiles:
        raise InvalidInput(
            "The release made no instance profile.",
            f"There is no instance.cfg in {folder} after the build.",
            "Let its software.cfg render one, for example with `recipe = slap:template`.",
        )
    digest = sha256()
    for path in [*profiles, folder / ".installed.cfg"]:
        digest.update(files.read_bytes(path))
    return digest.hexdigest()
