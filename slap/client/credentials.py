"""Credentials for a master: token, certificate, authority."""

from dataclasses import dataclass, field
from pathlib import Path

from slap.system.transport import HttpTransport, Tls


@dataclass(frozen=True)
class Credentials:
    """A token, or an X.509 certificate with its key, or both; `authority` is the CA file that the master's own
    certificate is checked against (None: the system's authorities).
    """

    token: str = field(default="", repr=False)
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None

    def transport(self) -> HttpTransport:
        """Connections on which the server is checked by these, and on which the certificate is shown."""
        return HttpTransport(Tls(self.authority, self.certificate, self.key))

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}
