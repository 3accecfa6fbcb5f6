"""What tells one state of a built release from another."""

from hashlib import sha256
from pathlib import Path

from slap.model.errors import InvalidInput
from slap.system import files


def fingerprint(folder: Path) -> str:
    """Instances depend on the profiles and on the parts of a release; both show in these files."""
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
