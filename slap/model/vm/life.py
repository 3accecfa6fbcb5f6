"""What is wanted of a machine's past and future: snapshots, backups, a point in time to go back to, another to begin from."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from slap.model.base import Frozen

BACKUP_FOLDER = "srv/backup"
LIFE_FILE = "var/vm/life.json"
DUE_FILE = "var/vm/backup-due"  # when the next backup is to be made: seconds since the epoch
LEAST_PERIOD = 300  # seconds between two backups

# qemu takes a name that is a number for an index.
SnapshotName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,62}$")]
# When a backup was made, in UTC: 20261126-130501.
PointName = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}-[0-9]{6}$")]
FolderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Serial = Annotated[int, Field(ge=1, le=1 << 53)]


class Vault(Frozen):
    """Another partition that keeps backups, and what it takes to be let in there."""

    url: Annotated[str, StringConstraints(pattern=r"^https://[^\s/?#@]+/$", max_length=300)]
    user: str = "vault"
    password: Annotated[str, StringConstraints(min_length=8, max_length=200)]
    certificate: str  # PEM: what its server has to show
    folder: FolderName  # below the URL: where the backups of one machine are


class Restore(Frozen):
    """Go back to a snapshot, or to a backup, once for each serial."""

    serial: Serial
    snapshot: SnapshotName | None = None
    backup: PointName | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.snapshot is None) == (self.backup is None):
            raise ValueError("restore needs a snapshot or a backup, one of the two")
        return self

    def __str__(self) -> str:
        return f"snapshot {self.snapshot}" if self.snapshot else f"backup {self.backup}"


class BackupWish(Frozen):
    """A backup as often as said, and one more for each serial. `every` is in seconds; 0 is never by itself.

    The last `keep` can all be restored.
    """

    every: int = Field(default=0, ge=0)
    keep: int = Field(default=14, ge=1, le=1000)
    serial: int = Field(default=0, ge=0)
    vault: Vault | None = None

    @model_validator(mode="after")
    def _is_not_too_often(self) -> Self:
        if 0 < self.every < LEAST_PERIOD:
            raise ValueError(f"backups can be made every {LEAST_PERIOD // 60} minutes at most")
        return self


class CloneSource(Frozen):
    """The backup of another machine that this one begins from."""

    vault: Vault
    point: PointName | None = None  # None: the newest when it begins


class Life(Frozen):
    """All of it. `snapshots` are exactly those that shall exist; None leaves alone what is there."""

    snapshots: tuple[SnapshotName, ...] | None = None
    restore: Restore | None = None
    backup: BackupWish | None = None
    clone: CloneSource | None = None

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if self.snapshots and len(set(self.snapshots)) < len(self.snapshots):
            raise ValueError("a snapshot is named twice")
        return self


class Snapshot(Frozen):
    """One that exists."""

    name: str
    at: datetime


class BackupPoint(Frozen):
    """A moment that can be restored. For each disk how many bytes were kept, and which disks are there as a whole.

    The others have only what changed since the point before.
    """

    name: PointName
    disks: dict[str, int]
    whole: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(self.disks.values())

    @property
    def is_whole(self) -> bool:
        return set(self.whole) >= set(self.disks)


class BackupIndex(Frozen):
    """The backups in a folder or a vault, from the oldest on. Of those that are to go there may still be files."""

    points: tuple[BackupPoint, ...] = ()
    leaving: tuple[PointName, ...] = ()


class LifeRecord(Frozen):
    """What was done for a machine: which restore and which backup were the last that somebody asked for."""

    restored: int = 0
    backed_up: int = 0
    tried_at: float = 0.0  # seconds since the epoch: the last scheduled backup
    trouble: str = ""  # why the last backup failed
