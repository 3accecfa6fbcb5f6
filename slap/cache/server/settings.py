"""All that a cache server needs to be told."""

from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import ByteSize, Field, model_validator

from slap.system.serving.limits import ConnectionLimits


class Reading(StrEnum):
    """Who may read."""

    OPEN = "open"
    CLOSED = "closed"  # those who may write


class CacheSettings(ConnectionLimits):
    """What to serve, where and to whom. Most callers are readers, who are unknown and may be slow."""

    folder: Path
    storage: str = ""
    host: str = "127.0.0.1"
    port: int = Field(default=5300, ge=0, le=65535)
    certificate: Path | None = None
    key: Path | None = None  # when it is not in the file of the certificate
    authority: Path | None = None
    revocations: str = ""  # URL or file of the authority's list of revoked certificates
    revocations_seconds: float = Field(default=10.0, gt=0)
    read: Reading = Reading.OPEN
    largest: ByteSize = Field(default=ByteSize(8 << 30), gt=0)
    quota: ByteSize | None = None
    unsigned: bool = False
    patience: float = Field(default=30.0, gt=0)
    body_seconds: float = Field(default=30.0, gt=0)
    unknown_connections: int = Field(default=1000, ge=1)
    connections_per_address: int = Field(default=200, ge=1)

    @property
    def storage_url(self) -> str:
        return self.storage or str(self.folder / "objects")

    @property
    def token_file(self) -> Path:
        return self.folder / "tokens"

    @property
    def revocations_file(self) -> Path:
        """The last list of revoked certificates that was good."""
        return self.folder / "revocations.pem"

    @property
    def spool(self) -> Path:
        """Where what has no name yet waits, in files without a name."""
        return self.folder / "spool"

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{host}:{self.port}"

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.authority and not self.certificate:
            raise ValueError("an authority for certificates of clients needs tls: name a certificate too")
        if self.revocations and not self.authority:
            raise ValueError("revocations are checked by the authority that signs them: name an authority too")
        return self
