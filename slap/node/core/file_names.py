"""Names that a tenant chooses and that the node uses in paths, configuration files and tables."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from slap.model.errors import InvalidInput

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,99}")
# The same for documents: those of an instantiation come from a process that ran as the tenant, and may have been forged.
FileName = Annotated[str, StringConstraints(pattern=f"^{_FILE_NAME.pattern}$")]
# Of an executable; empty for one that could not be read.
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,64}$")]
CrontabLine = Annotated[str, StringConstraints(pattern=r"^[^\x00\r\n]*$", max_length=65536)]
# Of each kind: what a partition has more of is no service any more, but an attack on its node.
MAX_INSTALLED = 1000


def check_file_name(path: Path) -> None:
    """Raise InvalidInput unless a file's name can stand in a supervisor section, a path and a table as it is."""
    if not _FILE_NAME.fullmatch(path.name):
        raise InvalidInput(
            f"{path.parent}: {path.name!r} is not a name for a service or promise.",
            "Letters, digits and any of _ . @ + - are allowed, up to 100 of them.",
            "Rename the part in the instance profile.",
        )
