"""By what somebody is known to a master."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Credentials:
    """A token, or an X.509 certificate with its key, or both; `authority` is the CA file that the master's own
    certificate is checked against (None: the system's authorities).
    """

    token: str = field(default="", repr=False)
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None
