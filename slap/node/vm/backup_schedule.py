"""Make backups when they are due, and publish which exist."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slap.model.errors import SlapError
from slap.model.node import PUBLISHED_FILE
from slap.model.vm.life import DUE_FILE, BackupIndex, BackupPoint, BackupWish, LifeRecord, Snapshot
from slap.model.vm.machine import Machine
from slap.node.vm.backup import BackupMaker
from slap.node.vm.backup_points import due_at, restorable, time_of
from slap.node.vm.restore import MachineHistory
from slap.system import files
from slap.system.clock import Clock
from slap.system.libvirt.blocks import Blocks, Monitor

_OURS = ("snapshots", "backups", "backup-trouble")
_MOST_TOLD = 50  # backups: what a partition publishes is bounded


@dataclass(frozen=True)
class BackupScheduler:
    """`monitor` talks to qemu about a running machine."""

    folder: Path
    past: MachineHistory
    clock: Clock
    monitor: Callable[[str], AbstractContextManager[Monitor]]

    def backup(self, machine: Machine) -> BackupPoint | None:
        """Make the backup that is due, or return None. Raises SlapError after recording the failure."""
        wish = machine.life.backup
        if wish is None or not self._is_due(wish):
            self.tell(machine)  # whoever called this has another time in mind
            return None
        record = self.past.record()
        update: dict[str, Any] = {"tried_at": self._now()}
        try:
            point = self._maker(machine).make(wish)
            update |= {"trouble": "", "backed_up": max(wish.serial, record.backed_up)}
            return point
        except SlapError as error:
            update["trouble"] = str(error)
            raise
        finally:
            self.past.write(self.past.record().model_copy(update=update))
            self.tell(machine)

    def backup_if_asked(self, machine: Machine) -> None:
        """Make a backup that a user requested; the schedule's own are left to the clock."""
        if machine.life.backup and machine.life.backup.serial > self.past.record().backed_up:
            self.backup(machine)

    def tell(self, machine: Machine) -> None:
        """Publish the backups that exist, and schedule the next."""
        wish = machine.life.backup
        record, index = self.past.record(), self._index(wish)
        self._publish(published(self.past.snapshots(machine), index, record))
        due = due_at(wish, index, record) if wish else None
        path = self.folder / DUE_FILE
        if due is None:
            path.unlink(missing_ok=True)
        else:
            files.write_if_changed(path, f"{int(due)}\n", 0o600)

    def _publish(self, told: dict[str, Any]) -> None:
        """Add to the connection parameters, leaving those of others."""
        path = self.folder / PUBLISHED_FILE
        known = {name: value for name, value in json.loads(files.read_or(path, "{}")).items() if name not in _OURS}
        files.write_if_changed(path, json.dumps({**known, **told}, sort_keys=True), 0o600)

    def _is_due(self, wish: BackupWish) -> bool:
        due = due_at(wish, self._index(wish), self.past.record())
        return due is not None and due <= self._now()

    def _index(self, wish: BackupWish | None) -> BackupIndex:
        """The index, also of backups in the partition that are not requested any more."""
        return self.past.backups.known(wish.vault if wish else None)

    def _maker(self, machine: Machine) -> BackupMaker:
        disks = self.past.disks(machine)

        @contextmanager
        def blocks() -> Iterator[Blocks]:
            with self.monitor(machine.name) as monitor:
                yield Blocks(monitor, machine.name, disks)

        return BackupMaker(self.past.past, self.past.backups, self.clock, disks, blocks)

    def _now(self) -> float:
        return self.clock.now().timestamp()


def published(snapshots: tuple[Snapshot, ...], index: BackupIndex, record: LifeRecord) -> dict[str, Any]:
    """The connection parameters on backups; empty ones are left out."""
    told: dict[str, Any] = {
        "snapshots": [{"name": each.name, "at": _words(each.at)} for each in snapshots],
        "backups": [_told(point) for point in restorable(index)[-_MOST_TOLD:]],
        "backup-trouble": record.trouble,
    }
    return {name: value for name, value in told.items() if value}


def _told(point: BackupPoint) -> dict[str, Any]:
    at = datetime.fromtimestamp(time_of(point.name), UTC)
    kind = "whole" if point.is_whole else "changes"
    return {"name": point.name, "at": _words(at), "kind": kind, "size": point.size}


def _words(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
