"""What is wanted of a machine's past, against what there is."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from slap.model.errors import InvalidInput, NotFound
from slap.model.vm.image import ImageEntry
from slap.model.vm.life import BackupIndex, BackupPoint, BackupWish, Life, LifeRecord, Restore, Snapshot
from slap.model.vm.machine import Disk, Machine, Network
from slap.model.vm.seed import Seed
from slap.node.vm.backup_schedule import published
from slap.node.vm.snapshots import SnapshotChanges, check_disks, check_snapshot, pending_restore, snapshot_changes


def machine(life: Life, kind: str = "qcow2") -> Machine:
    return Machine(
        name="slappart0",
        uuid="00000000-0000-0000-0000-000000000001",
        memory=96,
        cpus=1,
        disks=(
            Disk(name="root", image=ImageEntry(name="tiny")),
            Disk.model_validate({"name": "d", "size": 1, "format": kind}),
        ),
        network=Network(mac="52:54:00:00:00:01"),
        seed=Seed(identity="a", hostname="a"),
        life=life,
    )


@pytest.mark.parametrize(
    ("wanted", "existing", "make", "remove"),
    [
        (None, "ab", "", ""),
        ("", "ab", "", "ab"),
        ("ab", "", "ab", ""),
        ("ab", "bc", "a", "c"),
        ("ab", "ba", "", ""),
    ],
)
def test_snapshots_to_make_and_to_remove(wanted: str | None, existing: str, make: str, remove: str) -> None:
    names = None if wanted is None else tuple(wanted)
    assert snapshot_changes(names, existing) == SnapshotChanges(tuple(make), tuple(remove))


@pytest.mark.parametrize(
    ("serial", "restored", "is_pending"), [(1, 0, True), (1, 1, False), (2, 1, True), (1, 2, False)]
)
def test_each_restore_is_done_once(serial: int, restored: int, is_pending: bool) -> None:
    restore = Restore(serial=serial, snapshot="a")
    assert pending_restore(Life(restore=restore), restored) == (restore if is_pending else None)


def test_without_a_restore_none_is_pending() -> None:
    assert pending_restore(Life(), 0) is None


def test_a_snapshot_that_is_not_there_is_told_with_those_that_are() -> None:
    check_snapshot("a", ("a", "b"))
    with pytest.raises(NotFound) as caught:
        check_snapshot("c", ("a", "b"))
    assert caught.value.details == "There are: a, b."
    with pytest.raises(NotFound) as caught:
        check_snapshot("c", ())
    assert caught.value.details == "It has none."


@pytest.mark.parametrize("life", [Life(snapshots=("a",)), Life(backup=BackupWish())])
def test_a_raw_disk_has_no_past(life: Life) -> None:
    check_disks(machine(life))
    check_disks(machine(Life(), "raw"))
    with pytest.raises(InvalidInput, match="Disk d is raw"):
        check_disks(machine(life, "raw"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"snapshots": ["1"]},
        {"snapshots": ["-x"]},
        {"snapshots": ["a", "a"]},
        {"restore": {"serial": 1}},
        {"restore": {"serial": 1, "snapshot": "a", "backup": "20261126-120000"}},
        {"restore": {"serial": 0, "snapshot": "a"}},
        {"restore": {"serial": 1, "backup": "../../etc"}},
        {"backup": {"every": 60}},
        {"backup": {"keep": 0}},
        {"backup": {"vault": {"url": "http://x/", "password": "12345678", "certificate": "", "folder": "a"}}},
        {"backup": {"vault": {"url": "https://x/", "password": "12345678", "certificate": "", "folder": "../a"}}},
    ],
)
def test_what_cannot_be_wanted(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Life.model_validate(wrong)


def test_a_clone_needs_no_image() -> None:
    vault = {"url": "https://[::1]:1/", "password": "12345678", "certificate": "", "folder": "a"}
    assert machine(Life()).images != ()
    assert machine(Life.model_validate({"clone": {"vault": vault}})).images == ()


def test_what_is_published() -> None:
    at = datetime(2026, 11, 26, 12, tzinfo=UTC)
    index = BackupIndex(
        points=(
            BackupPoint(name="20261126-120000", disks={"root": 100, "d": 5}, whole=("root", "d")),
            BackupPoint(name="20261126-130000", disks={"root": 7, "d": 1}),
        )
    )
    assert published((), BackupIndex(), LifeRecord()) == {}
    assert published((Snapshot(name="a", at=at),), index, LifeRecord(trouble="full")) == {
        "snapshots": [{"name": "a", "at": "2026-11-26T12:00:00Z"}],
        "backups": [
            {"name": "20261126-120000", "at": "2026-11-26T12:00:00Z", "kind": "whole", "size": 105},
            {"name": "20261126-130000", "at": "2026-11-26T13:00:00Z", "kind": "changes", "size": 8},
        ],
        "backup-trouble": "full",
    }
