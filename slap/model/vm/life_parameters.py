"""What is ordered of a machine's past and future: parameters of software/kvm."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from slap.model.base import Frozen
from slap.model.vm.life import (
    BackupWish,
    CloneSource,
    FolderName,
    Life,
    PointName,
    Restore,
    SnapshotName,
    Vault,
)

_PERIOD = re.compile(r"([0-9]{1,6}) ?(min|m|h|d|w)[a-z]*")
_SECONDS = {"m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def read_period(said: Any) -> int:
    """Seconds, of "1 h", "30 min", "2 d"; raises ValueError for anything else."""
    match = _PERIOD.fullmatch(said.strip().lower()) if isinstance(said, str) else None
    if match is None:
        raise ValueError(f"{said!r} is no period: write one such as 30 min, 1 h or 1 d")
    return int(match[1]) * _SECONDS[match[2]]


class VaultAccess(Frozen):
    """The connection parameters of a vault. Without a folder it is that of the machine itself."""

    url: str
    password: str
    certificate: str
    folder: FolderName | None = None


class BackupOrder(Frozen):
    """Without `every` a backup is made for each new serial only; without `to` they are kept in the partition."""

    every: Annotated[int, BeforeValidator(read_period)] = 0
    keep: int = Field(default=14, ge=1, le=1000)
    serial: int = Field(default=0, ge=0)
    to: VaultAccess | None = None


class CloneOrder(Frozen):
    """Begin as another machine was; without `backup` as it was at its newest one."""

    source: Annotated[VaultAccess, Field(validation_alias="from")]
    backup: PointName | None = None


class LifeParameters(Frozen):
    """Those of a machine's parameters that are about its life."""

    snapshots: tuple[SnapshotName, ...] | None = None
    restore: Restore | None = None
    backup: BackupOrder | None = None
    clone: CloneOrder | None = None


def life_of(ordered: LifeParameters, guid: str) -> Life:
    """`guid` is the machine's: its folder in a vault. Raises pydantic's ValidationError."""
    backup, clone = ordered.backup, ordered.clone
    return Life(
        snapshots=ordered.snapshots,
        restore=ordered.restore,
        backup=backup
        and BackupWish(every=backup.every, keep=backup.keep, serial=backup.serial, vault=_to(backup, guid)),
        clone=clone and CloneSource(vault=_vault(clone.source, guid), point=clone.backup),
    )


def _to(backup: BackupOrder, guid: str) -> Vault | None:
    return _vault(backup.to, guid) if backup.to else None


def _vault(access: VaultAccess, guid: str) -> Vault:
    return Vault(url=access.url, password=access.password, certificate=access.certificate, folder=access.folder or guid)
