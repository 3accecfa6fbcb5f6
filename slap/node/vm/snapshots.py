"""Which snapshots to make and to remove."""

from collections.abc import Iterable
from dataclasses import dataclass

from slap.model.errors import InvalidInput, NotFound
from slap.model.vm.life import Life, Restore
from slap.model.vm.machine import Machine


@dataclass(frozen=True)
class SnapshotChanges:
    """Snapshots to make first, and to remove then."""

    make: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


def snapshot_changes(wanted: tuple[str, ...] | None, existing: Iterable[str]) -> SnapshotChanges:
    """The changes from existing to wanted snapshots; none without a request."""
    if wanted is None:
        return SnapshotChanges()
    found = tuple(existing)
    return SnapshotChanges(
        make=tuple(name for name in wanted if name not in found),
        remove=tuple(name for name in found if name not in wanted),
    )


def pending_restore(life: Life, restored: int) -> Restore | None:
    """The requested restore, unless it was done before."""
    return life.restore if life.restore and life.restore.serial > restored else None


def check_snapshot(name: str, existing: Iterable[str]) -> None:
    """Raise NotFound, naming the snapshots that exist."""
    found = tuple(existing)
    if name not in found:
        known = f"There are: {', '.join(found)}." if found else "It has none."
        raise NotFound(f"There is no snapshot {name}.", known, "Order restore with the name of one that exists.")


def check_disks(machine: Machine) -> None:
    """Raise InvalidInput where snapshots or backups are requested of a disk that is not qcow2."""
    life = machine.life
    raw = [disk.name for disk in machine.disks if disk.format != "qcow2"]
    if raw and (life.snapshots or life.backup or life.restore):
        raise InvalidInput(
            f"Disk {', '.join(raw)} is raw.",
            "Snapshots and backups are made of qcow2 disks.",
            "Order its format qcow2, or neither snapshots nor backup.",
        )
