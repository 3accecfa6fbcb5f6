"""Snapshots, restores and clones of a machine: before it starts and while it runs.

A restore is done while the machine is off, before it starts, and written down after; cut off, it is done once more.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from slap.model.errors import NotFound
from slap.model.vm.life import LIFE_FILE, LifeRecord, Restore, Snapshot
from slap.model.vm.machine import DISK_FOLDER, Machine
from slap.node.vm.backup_store import Backups
from slap.node.vm.snapshots import (
    SnapshotChanges,
    check_disks,
    check_snapshot,
    pending_restore,
    snapshot_changes,
)
from slap.system import files
from slap.system.disk.qemu_img import Past
from slap.system.libvirt.blocks import Blocks, Monitor


@dataclass(frozen=True)
class MachineHistory:
    """The snapshots, restores and backups of the machine of a partition."""

    folder: Path
    past: Past
    backups: Backups

    def record(self) -> LifeRecord:
        try:
            return LifeRecord.model_validate_json((self.folder / LIFE_FILE).read_bytes())
        except (FileNotFoundError, ValidationError):
            return LifeRecord()

    def write(self, record: LifeRecord) -> None:
        files.write(self.folder / LIFE_FILE, record.model_dump_json(), 0o600)

    def disks(self, machine: Machine) -> dict[str, Path]:
        """The disks that support snapshots and backups."""
        return {
            disk.name: self.folder / DISK_FOLDER / f"{disk.name}.qcow2"
            for disk in machine.disks
            if disk.format == "qcow2"
        }

    def snapshots(self, machine: Machine) -> tuple[Snapshot, ...]:
        """All snapshots on any disk, by name and time, the oldest first."""
        found: dict[str, Snapshot] = {}
        for path in self.disks(machine).values():
            if path.exists():
                found |= {each.name: each for each in self.past.snapshots(path)}
        return tuple(sorted(found.values(), key=lambda each: each.at))

    def restart_for(self, machine: Machine) -> str:
        """Why the machine has to stop; empty if it need not. Raises SlapError for what is impossible."""
        restore = self._pending(machine)
        if restore is None:
            return ""
        self._check(machine, restore)
        return str(restore)

    def before_disks(self, machine: Machine) -> None:
        """Before disks are created, while the machine is off: clone from a backup, or restore."""
        check_disks(machine)
        is_new = not any(path.exists() for path in self.disks(machine).values())
        self._begin(machine)
        restore = self._pending(machine)
        if restore and self._is_possible(machine, restore):
            self._go_back(machine, restore)
        elif restore and is_new:
            self._note(restore)  # its order is that of another machine: what gets that name here later was never meant

    def _begin(self, machine: Machine) -> None:
        """Create the disks of a clone, each once."""
        if machine.life.clone is None:
            return
        missing = {disk: path for disk, path in self.disks(machine).items() if not path.exists()}
        if not missing:
            return
        with self.backups.assembled(machine.life.clone.vault, machine.life.clone.point) as tops:
            for disk, path in missing.items():
                if disk in tops:
                    self._make(tops[disk], path)

    def _make(self, top: Path, path: Path) -> None:
        """Create a disk, under a temporary name first: half a disk is none."""
        files.make_folder(path.parent, 0o700)
        aside = path.with_suffix(".new")
        self.past.flatten(top, aside)
        files.put_in_place(aside, path)

    def before_start(self, machine: Machine) -> None:
        """Make and remove snapshots while the machine is off and has its disks."""
        disks, todo = self.disks(machine), self._snapshot_changes(machine)
        for path in disks.values():
            for name in todo.make:
                self.past.take_snapshot(path, name)
            for name in todo.remove:
                if name in self._names_of(path):
                    self.past.delete_snapshot(path, name)

    def while_running(self, machine: Machine, monitor: Monitor) -> None:
        """Make and remove snapshots while the machine runs."""
        check_disks(machine)
        disks, todo = self.disks(machine), self._snapshot_changes(machine)
        blocks = Blocks(monitor, machine.name, disks)
        for name in todo.make:
            blocks.take_snapshot(name)
        for name in todo.remove:
            for disk, path in disks.items():
                if name in self._names_of(path):
                    blocks.delete_snapshot(name, disk)

    def _go_back(self, machine: Machine, restore: Restore) -> None:
        disks = self.disks(machine)
        if restore.snapshot:
            for path in disks.values():
                if restore.snapshot in self._names_of(path):
                    self.past.go_back(path, restore.snapshot)
        elif restore.backup:
            vault = machine.life.backup.vault if machine.life.backup else None
            with self.backups.assembled(vault, restore.backup) as tops:
                for disk, top in tops.items():
                    if disk in disks and disks[disk].exists():
                        self.past.overwrite(top, disks[disk])
                    elif disk in disks:
                        self._make(top, disks[disk])
        self._note(restore)

    def _snapshot_changes(self, machine: Machine) -> SnapshotChanges:
        """But for one that is to be gone back to: now it would be of what somebody wants to leave."""
        restore = self._pending(machine)
        todo = snapshot_changes(machine.life.snapshots, self._names(machine))
        return replace(todo, make=tuple(name for name in todo.make if not restore or name != restore.snapshot))

    def _pending(self, machine: Machine) -> Restore | None:
        return pending_restore(machine.life, self.record().restored)

    def _note(self, restore: Restore) -> None:
        """Record a restore as done or given up."""
        self.write(self.record().model_copy(update={"restored": restore.serial}))

    def _check(self, machine: Machine, restore: Restore) -> None:
        if restore.snapshot:
            check_snapshot(restore.snapshot, self._names(machine))
        elif restore.backup:
            vault = machine.life.backup.vault if machine.life.backup else None
            self.backups.check(vault, restore.backup)

    def _is_possible(self, machine: Machine, restore: Restore) -> bool:
        """Whether a restore can be done; the machine starts without it otherwise."""
        try:
            self._check(machine, restore)
        except NotFound:
            return False
        return True

    def _names(self, machine: Machine) -> tuple[str, ...]:
        return tuple(each.name for each in self.snapshots(machine))

    def _names_of(self, path: Path) -> tuple[str, ...]:
        """Names of the snapshots of a disk; None for a disk that does not exist yet."""
        if not path.exists():
            return ()
        return tuple(each.name for each in self.past.snapshots(path))
