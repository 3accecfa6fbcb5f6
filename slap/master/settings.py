"""All that a master needs to be told."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, ByteSize, Field, model_validator

from slap.master.access.settings import AccessSettings
from slap.master.database.quota import QuotaSettings
from slap.master.multimaster.config import Beside
from slap.master.release.settings import ReleaseSettings, split_words
from slap.master.schema.limits import SchemaLimits
from slap.master.schema.validation import SchemaSettings
from slap.system.serving.limits import BodyLimits, ConnectionLimits
from slap.system.trust.peer import is_loopback

_DAY = 24 * 3600.0


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class TlsMode(StrEnum):
    """Whether the master speaks HTTPS, and whose its server certificate is."""

    OFF = "off"
    OWN = "own"  # signed by the master's own authority
    FILES = "files"  # the operator's


class MasterSettings(ReleaseSettings, ConnectionLimits, BodyLimits, QuotaSettings):
    """What to serve, where and to whom. `names` are those under which clients reach a master with a certificate of its
    own authority. `open_to_this_machine` takes requests without credentials, from the loopback address alone.
    """

    database_url: str
    host: str = "127.0.0.1"
    port: int = Field(default=5000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    log_level: LogLevel = LogLevel.INFO
    unsent_per_caller: ByteSize = Field(default=ByteSize(8 << 20), ge=1 << 20)
    tls: TlsMode = TlsMode.OFF
    names: Annotated[tuple[str, ...], BeforeValidator(split_words)] = ()
    quota_exempt: Annotated[frozenset[str], BeforeValidator(split_words)] = frozenset()
    certificate: Path | None = None
    key: Path | None = None  # when it is not in the file of the certificate
    certificate_days: float = Field(default=90, gt=0, le=3650)  # of nodes and users, and of the server's own
    registration_hours: float = Field(default=24, gt=0, le=24 * 30)  # of a one-time token
    open_to_this_machine: bool = False
    old_registration: bool = False
    beside: Beside = Beside()
    schema_bytes: int = Field(default=512 * 1024, ge=1)
    schema_depth: int = Field(default=100, ge=1, le=200)
    schema_objects: int = Field(default=10_000, ge=1)
    schema_references: int = Field(default=2_000, ge=0)
    schema_seconds: float = Field(default=2, gt=0, le=60)  # of one check of parameters
    schema_seconds_a_minute: float = Field(default=10, gt=0)  # of one user's slow checks
    schema_workers: int = Field(default=2, ge=1, le=16)
    schema_worker_memory: int = Field(default=20 << 20, ge=1 << 20)
    schema_waiting: int = Field(default=100, ge=1)  # checks of one user

    @property
    def server_lifetime(self) -> float:
        return self.certificate_days * _DAY

    @property
    def access(self) -> AccessSettings:
        return AccessSettings(
            own_tls=self.tls is not TlsMode.OFF,
            own_authority=self.tls is TlsMode.OWN,
            open_to_this_machine=self.open_to_this_machine,
            server_makes_keys=self.old_registration,
            lifetime=self.certificate_days * _DAY,
            registration_lifetime=self.registration_hours * 3600,
            quotas=QuotaSettings.model_validate({name: getattr(self, name) for name in QuotaSettings.model_fields}),
        )

    @property
    def schemas(self) -> SchemaSettings:
        return SchemaSettings(
            limits=SchemaLimits(
                size=self.schema_bytes,
                depth=self.schema_depth,
                parts=self.schema_objects,
                references=self.schema_references,
            ),
            seconds=self.schema_seconds,
            seconds_a_minute=self.schema_seconds_a_minute,
            workers=self.schema_workers,
            memory=self.schema_worker_memory,
            waiting=self.schema_waiting,
        )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.open_to_this_machine and not is_loopback(self.host):
            raise ValueError("a master that is open_to_this_machine listens on a loopback address only")
        if self.tls is TlsMode.FILES and self.certificate is None:
            raise ValueError("tls = files needs the path of a certificate")
        if self.old_registration and self.tls is TlsMode.OFF and not is_loopback(self.host):
            raise ValueError("old_registration needs tls: keys travel in it")
        return self
