"""Backups at their time, of a real qemu; only the clock is not real."""

import json
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from slap.model.errors import CommandFailed, SlapError
from slap.model.node import PUBLISHED_FILE
from slap.model.vm.life import DUE_FILE, LIFE_FILE, BackupWish, Life
from slap.model.vm.machine import DISK_FOLDER, Disk, Machine, Network
from slap.model.vm.seed import Seed
from slap.node.vm.backup_schedule import BackupScheduler
from slap.node.vm.backup_store import Backups, connect_vault
from slap.node.vm.restore import MachineHistory
from slap.system.clock import FakeClock
from slap.system.disk.qemu_img import Past
from slap.system.process import SystemRunner
from tests.contract.system.qemu import MIB, Qemu, running_qemu

PAST = Past(SystemRunner())


def machine(wish: BackupWish | None) -> Machine:
    return Machine(
        name="slappart0",
        uuid="00000000-0000-0000-0000-000000000001",
        memory=96,
        cpus=1,
        disks=(Disk(name="root", size=16 * MIB),),
        network=Network(mac="52:54:00:00:00:01"),
        seed=Seed(identity="a", hostname="a"),
        life=Life(backup=wish),
    )


class ToldClock(FakeClock):
    """It is told the time; who waits for qemu does so by the real one, however long that takes."""

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Partition:
    """With a keeper whose clock is told the time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, ToldClock()
        for path in (folder / LIFE_FILE, folder / DISK_FOLDER / "root.qcow2"):
            path.parent.mkdir(parents=True)
        self.disk = folder / DISK_FOLDER / "root.qcow2"
        PAST.make(self.disk, 16 * MIB)

    def keeper(self, qemu: Qemu) -> BackupScheduler:
        past = MachineHistory(self.folder, PAST, Backups(self.folder, PAST, connect_vault))
        return BackupScheduler(self.folder, past, self.clock, lambda name: nullcontext(qemu))

    @property
    def due_in(self) -> float:
        return int((self.folder / DUE_FILE).read_text()) - self.clock.seconds

    @property
    def published(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.folder / PUBLISHED_FILE).read_text())
        return found


@pytest.fixture
def partition(tmp_path: Path) -> Partition:
    return Partition(tmp_path)


def test_backups_come_at_their_time(partition: Partition) -> None:
    wanted = machine(BackupWish(every=3600))
    with running_qemu(partition.disk) as qemu:
        keeper = partition.keeper(qemu)
        first = keeper.backup(wanted)
        assert first is not None
        assert first.is_whole
        assert partition.due_in == 3600
        assert keeper.backup(wanted) is None
        partition.clock.seconds += 3600
        second = keeper.backup(wanted)
        assert second is not None
        assert not second.is_whole
    assert [each["kind"] for each in partition.published["backups"]] == ["whole", "changes"]  # type: ignore[attr-defined]


def test_a_wrong_time_in_mind_is_mended(partition: Partition) -> None:
    wanted = machine(BackupWish(every=3600))
    with running_qemu(partition.disk) as qemu:
        keeper = partition.keeper(qemu)
        keeper.backup(wanted)
        (partition.folder / DUE_FILE).write_text("1\n")
        assert keeper.backup(wanted) is None
        assert partition.due_in == 3600
        assert keeper.backup(machine(None)) is None
        assert not (partition.folder / DUE_FILE).exists()


def test_one_that_is_asked_for_comes_once(partition: Partition) -> None:
    with running_qemu(partition.disk) as qemu:
        keeper = partition.keeper(qemu)
        keeper.backup_if_asked(machine(BackupWish(serial=1)))
        keeper.backup_if_asked(machine(BackupWish(serial=1)))
        keeper.backup_if_asked(machine(BackupWish(every=3600, serial=1)))
        assert len(partition.published["backups"]) == 1  # type: ignore[arg-type]


def test_what_went_wrong_is_told_and_tried_again_later(partition: Partition) -> None:
    """What is asked of a machine that is not there any more."""

    class Gone:
        def ask(self, name: str, command: str, arguments: object) -> object:
            raise CommandFailed("There is no machine.")

    (partition.folder / PUBLISHED_FILE).write_text('{"acceleration": "kvm"}')
    past = MachineHistory(partition.folder, PAST, Backups(partition.folder, PAST, connect_vault))
    keeper = BackupScheduler(partition.folder, past, partition.clock, lambda name: nullcontext(Gone()))
    with pytest.raises(SlapError):
        keeper.backup(machine(BackupWish(every=3600)))
    assert partition.published == {"acceleration": "kvm", "backup-trouble": "There is no machine."}
    assert partition.due_in == 300
    assert keeper.backup(machine(BackupWish(every=3600))) is None
