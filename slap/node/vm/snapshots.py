"""Which snapshots are to be made and which to go: from those that are wanted and those that exist."""

from collections.abc import Iterable
from dataclasses import dataclass

from slap.model.errors import InvalidInput, NotFound
from slap.model.vm.life import Life, Restore
from slap.model.vm.machine import Machine


@dataclass(frozen=True)
class SnapshotChanges:
    """To be made, and to be removed; making comes first."""

    make: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


def snapshot_changes(wanted: tuple[str, ...] | None, existing: Iterable[str]) -> SnapshotChanges:
    """Nothing at all where nothing was said."""
    if wanted is None:
        return SnapshotChanges()
    found = tuple(existing)
    return SnapshotChanges(
        make=tuple(name for name in wanted if name not in found),
        remove=tuple(name for name in found if name not in wanted),
    )


def pending_restore(life: Life, restored: int) -> Restore | None:
    """What is to be gone back to, unless that was done before."""
    return life.restore if life.restore and life.restore.serial > restored else None


def check_snapshot(name: str, existing: Iterable[str]) -> None:
    """Raises NotFound with the names that there are."""
    found = tuple(existing)
    if name not in found:
        known = f"There are: {', '.join(found)}." if found else "It has none."
        raise NotFound(f"There is no snapshot {name}.", known, "Order restore with the name of one that exists.")


def check_disks(machine: Machine) -> None:
    """Only a qcow2 disk can keep what it was; raises InvalidInput for another one, where that is asked for."""
    life = machine.life
    raw = [disk.name for disk in machine.disks if disk.format != "qcow2"]
    if raw and (life.snapshots or life.backup or life.restore):
        raise InvalidInput(
            f"Disk {', '.join(raw)} is raw.",
            "Snapshots and backups are made of qcow2 disks.",
            "Order its format qcow2, or neither snapshots nor backup.",
        )
