"""What is wanted of a machine's past, done on real disks while it is off."""

from pathlib import Path

import pytest

from slap.model.errors import NotFound
from slap.model.vm.life import LIFE_FILE, Life, Restore, Vault
from slap.model.vm.machine import DISK_FOLDER, Disk, Machine, Network
from slap.model.vm.seed import Seed
from slap.node.vm.backup_store import Backups
from slap.node.vm.restore import MachineHistory
from slap.system.disk.qemu_img import Past
from slap.system.network.webdav import Dav, FolderDav
from slap.system.process import SystemRunner
from tests.contract.system.qemu import MIB

PAST = Past(SystemRunner())
POINT = '{"points": [{"name": "20261126-120000", "disks": {"root": 1}, "whole": ["root"]}]}'


def machine(life: Life) -> Machine:
    return Machine(
        name="slappart0",
        uuid="00000000-0000-0000-0000-000000000001",
        memory=96,
        cpus=1,
        disks=(Disk(name="root", size=4 * MIB), Disk(name="data", size=4 * MIB)),
        network=Network(mac="52:54:00:00:00:01"),
        seed=Seed(identity="a", hostname="a"),
        life=life,
    )


class Partition:
    def __init__(self, folder: Path, vaults: Path) -> None:
        self.folder, self.vaults = folder, vaults
        (folder / LIFE_FILE).parent.mkdir(parents=True)
        (folder / DISK_FOLDER).mkdir(parents=True)
        self.past = MachineHistory(folder, PAST, Backups(folder, PAST, self.connect))

    def connect(self, vault: Vault, certificate: Path) -> Dav:
        return FolderDav(self.vaults)

    def start(self, life: Life) -> list[str]:
        """As the service of a machine does before it starts; the snapshots that there are then."""
        wanted = machine(life)
        self.past.before_disks(wanted)
        for name, path in self.past.disks(wanted).items():
            if not path.exists():
                PAST.make(path, 4 * MIB)
                assert name in ("root", "data")
        self.past.before_start(wanted)
        return [each.name for each in self.past.snapshots(wanted)]


@pytest.fixture
def partition(tmp_path: Path) -> Partition:
    return Partition(tmp_path / "part", tmp_path / "vaults")


def test_snapshots_are_as_wanted_when_it_starts(partition: Partition) -> None:
    assert partition.start(Life(snapshots=("a", "b"))) == ["a", "b"]
    assert partition.start(Life()) == ["a", "b"]
    assert partition.start(Life(snapshots=("b", "c"))) == ["b", "c"]
    assert partition.start(Life(snapshots=())) == []


def test_it_goes_back_once_for_each_serial(partition: Partition) -> None:
    partition.start(Life(snapshots=("a",)))
    again = Life(snapshots=("a",), restore=Restore(serial=3, snapshot="a"))
    assert partition.past.restart_for(machine(again)) == "snapshot a"
    partition.start(again)
    assert partition.past.record().restored == 3
    assert partition.past.restart_for(machine(again)) == ""
    assert partition.past.restart_for(machine(Life(restore=Restore(serial=2, snapshot="a")))) == ""


def test_it_goes_back_though_it_gets_another_disk_at_the_same_time(partition: Partition) -> None:
    partition.start(Life(snapshots=("a",)))
    again = Life(snapshots=("a",), restore=Restore(serial=1, snapshot="a"))
    partition.past.disks(machine(again))["data"].unlink()
    assert partition.start(again) == ["a"]
    assert partition.past.record().restored == 1


def test_what_it_cannot_go_back_to_is_said_and_does_not_keep_it_from_starting(partition: Partition) -> None:
    partition.start(Life())
    wanted = Life(snapshots=("a",), restore=Restore(serial=1, snapshot="z"))
    assert partition.start(wanted) == ["a"]
    assert partition.past.record().restored == 0
    with pytest.raises(NotFound, match="There is no snapshot z"):
        partition.past.restart_for(machine(wanted))
    with pytest.raises(NotFound, match="There is no backup 20261126-120000"):
        partition.past.restart_for(machine(Life(restore=Restore(serial=1, backup="20261126-120000"))))


@pytest.mark.parametrize("snapshots", [None, ("clean",)])
def test_what_a_new_machine_could_not_go_back_to_is_never_gone_back_to(
    partition: Partition, snapshots: tuple[str, ...] | None
) -> None:
    """Its order is that of another machine. Its own snapshot has that name, and nothing of what was written since."""
    copied = Life(snapshots=snapshots, restore=Restore(serial=1, snapshot="clean"))
    assert partition.start(copied) == list(snapshots or ())
    assert partition.past.restart_for(machine(copied)) == ""
    assert partition.past.record().restored == 1
    partition.start(Life(snapshots=("clean",)))
    assert partition.past.restart_for(machine(Life(restore=Restore(serial=2, snapshot="clean")))) == "snapshot clean"


def test_a_snapshot_that_is_to_be_gone_back_to_is_not_made_for_that(partition: Partition) -> None:
    """It would be of the very state that somebody wants to leave, and take what was written since from who does not."""
    partition.start(Life())
    wanted = Life(snapshots=("a", "z"), restore=Restore(serial=1, snapshot="z"))
    assert partition.start(wanted) == ["a"]
    with pytest.raises(NotFound, match="There is no snapshot z"):
        partition.past.restart_for(machine(wanted))
    assert partition.start(Life(snapshots=("a", "z"))) == ["a", "z"]


def test_a_machine_whose_disks_are_lost_begins_from_its_backup(partition: Partition) -> None:
    kept = partition.folder / "srv/backup/20261126-120000"
    kept.mkdir(parents=True)
    PAST.make(kept / "root.qcow2", 8 * MIB)
    (kept.parent / "index.json").write_text(POINT)
    wanted = Life(restore=Restore(serial=1, backup="20261126-120000"))
    partition.start(wanted)
    disks = partition.past.disks(machine(wanted))
    assert (PAST.size(disks["root"]), PAST.size(disks["data"])) == (8 * MIB, 4 * MIB)
    assert partition.past.record().restored == 1


def test_a_clone_begins_as_its_vault_has_it(partition: Partition) -> None:
    vault = Vault(url="https://[::1]/", password="secret-secret", certificate="", folder="other")
    theirs = partition.vaults / "other/20261126-120000"
    theirs.mkdir(parents=True)
    PAST.make(theirs / "root.qcow2", 8 * MIB)
    (partition.vaults / "other/index.json").write_text(POINT)
    clone = Life.model_validate({"clone": {"vault": vault.model_dump()}})
    partition.start(clone)
    disks = partition.past.disks(machine(clone))
    assert (PAST.size(disks["root"]), PAST.size(disks["data"])) == (8 * MIB, 4 * MIB)
    (partition.vaults / "other/index.json").unlink()
    partition.start(clone)  # it has begun: the vault is not asked any more
