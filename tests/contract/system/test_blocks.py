"""Snapshots and backups on a real qemu: the disk is written to while it runs, and read when it ended."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slap.model.errors import CommandFailed, StorageFull, Unreachable
from slap.model.vm.life import BackupIndex, BackupWish, Vault
from slap.node.vm.backup import BackupMaker
from slap.node.vm.backup_store import Backups, Store
from slap.system.clock import FakeClock
from slap.system.disk.file import grow_disk
from slap.system.disk.qemu_img import Past
from slap.system.libvirt.blocks import Blocks, Copy
from slap.system.network.webdav import Dav, FolderDav
from slap.system.process import SystemRunner
from tests.contract.system.qemu import MIB, Qemu, content, running_qemu

PAST = Past(SystemRunner())
VAULT = Vault(url="https://[::1]/", password="secret-secret", certificate="", folder="m")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    image, disk = tmp_path / "image.qcow2", tmp_path / "root.qcow2"
    PAST.make(image, 16 * MIB)
    PAST.make(disk, 16 * MIB)
    PAST.link([image, disk])
    return disk


@pytest.fixture
def qemu(disk: Path) -> Iterator[Qemu]:
    with running_qemu(disk) as qemu:
        yield qemu


def blocks_of(qemu: Qemu) -> Blocks:
    return Blocks(qemu, "m", {"root": qemu.disk})


class Killed(BaseException):
    """Whoever was at work is no more."""


@dataclass
class Fragile:
    """A store that does what it is asked, so many times; the next time that does not end well."""

    store: Store
    verb: str
    times: int
    error: BaseException

    def index(self) -> BackupIndex:
        return self.store.index()

    def write_index(self, index: BackupIndex) -> None:
        self.store.write_index(index)
        self._break("write_index")

    def put(self, point: str, disk: str, made: Path) -> None:
        self.store.put(point, disk, made)
        self._break("put")

    def fetch(self, point: str, disk: str, folder: Path) -> Path:
        return self.store.fetch(point, disk, folder)

    def remove(self, point: str) -> None:
        self.store.remove(point)
        self._break("remove")

    def _break(self, verb: str) -> None:
        if verb == self.verb:
            self.times -= 1
            if self.times < 0:
                raise self.error


@dataclass(frozen=True)
class FragileBackups(Backups):
    """Those of a machine, for a time in a store that is fragile."""

    breaks: list[tuple[str, int, BaseException]] = field(default_factory=list)

    def store(self, vault: Vault | None) -> Store:
        found = super().store(vault)
        return Fragile(found, *self.breaks[0]) if self.breaks else found


class Keeping:
    """Backups of a machine that runs, to its partition or to a vault."""

    def __init__(self, qemu: Qemu, folder: Path) -> None:
        self.qemu = qemu
        self.clock = FakeClock()
        self.local, self.remote = folder / "part", folder / "vault"
        self.backups = FragileBackups(self.local, PAST, self.connect)

    def break_off(self, wish: BackupWish, verb: str, times: int, error: BaseException) -> None:
        """Make one that does not come to its end."""
        self.backups.breaks.append((verb, times, error))
        with pytest.raises(type(error)):
            self.make(wish)
        self.backups.breaks.clear()

    def kept(self, vault: Vault | None) -> tuple[list[str], list[str]]:
        """The points in the index, and the folders that there are."""
        place = self.remote / "m" if vault else self.local / "srv/backup"
        points = [point.name for point in self.backups.store(vault).index().points]
        return points, sorted(each.name for each in place.iterdir() if each.is_dir())

    def connect(self, vault: Vault, certificate: Path) -> Dav:
        return FolderDav(self.remote)

    def make(self, wish: BackupWish) -> tuple[str, bool, int]:
        self.clock.sleep(60)
        disks = {"root": self.qemu.disk}
        maker = BackupMaker(PAST, self.backups, self.clock, disks, lambda: nullcontext(blocks_of(self.qemu)))
        point = maker.make(wish)
        return point.name, point.is_whole, point.size

    @contextmanager
    def restored(self, vault: Vault | None, point: str | None, to: Path) -> Iterator[Path]:
        with self.backups.assembled(vault, point) as tops:
            PAST.flatten(tops["root"], to)
        yield to


def test_a_snapshot_brings_back_what_was(qemu: Qemu) -> None:
    qemu.write(1, 7)
    blocks_of(qemu).take_snapshot("before")
    qemu.write(1, 8)
    with pytest.raises(CommandFailed):
        blocks_of(qemu).take_snapshot("before")
    assert [each.name for each in PAST.snapshots(qemu.disk)] == ["before"]
    qemu.process.terminate()
    qemu.process.wait()
    assert content(qemu.disk, 1) == 8
    PAST.go_back(qemu.disk, "before")
    assert content(qemu.disk, 1) == 7


def test_a_snapshot_goes_while_the_machine_runs(qemu: Qemu) -> None:
    blocks = blocks_of(qemu)
    blocks.take_snapshot("a")
    blocks.take_snapshot("b")
    blocks.delete_snapshot("a", "root")
    assert [each.name for each in PAST.snapshots(qemu.disk)] == ["b"]


@pytest.mark.parametrize("vault", [None, VAULT], ids=["files", "vault"])
def test_each_kept_point_can_be_restored(qemu: Qemu, tmp_path: Path, vault: Vault | None) -> None:
    keeping, wish = Keeping(qemu, tmp_path), BackupWish(keep=2, vault=vault)
    made = []
    for value in range(1, 6):
        qemu.write(value, value)
        qemu.write(0, value)
        made.append(keeping.make(wish))
    assert [whole for _, whole, _ in made] == [True, False, True, False, True]
    index = keeping.backups.store(vault).index()
    assert [point.name for point in index.points] == [name for name, _, _ in made[2:]]
    folders = (keeping.remote / "m") if vault else tmp_path / "part/srv/backup"
    assert sorted(each.name for each in folders.glob("2*")) + sorted(
        each.name for each in folders.glob("1*")
    ) == sorted(point.name for point in index.points)
    for value, point in zip(range(3, 6), index.points, strict=True):
        with keeping.restored(vault, point.name, tmp_path / f"{point.name}.qcow2") as disk:
            assert content(disk, 0) == value
            assert content(disk, value) == value
            assert content(disk, 6) == 0


def test_what_changed_takes_less_room_than_all(qemu: Qemu, tmp_path: Path) -> None:
    keeping = Keeping(qemu, tmp_path)
    for mebibyte in range(8):
        qemu.write(mebibyte, 1)
    _, _, whole = keeping.make(BackupWish())
    qemu.write(3, 2)
    _, _, changes = keeping.make(BackupWish())
    assert changes < 2 * MIB < 8 * MIB < whole


def test_a_backup_that_was_cut_off_loses_no_change(qemu: Qemu, tmp_path: Path) -> None:
    """The copy was made, and whoever made it died before it was kept."""
    keeping = Keeping(qemu, tmp_path)
    qemu.write(0, 1)
    first, _, _ = keeping.make(BackupWish())
    qemu.write(1, 2)
    target = tmp_path / "lost.qcow2"
    PAST.make(target, 16 * MIB)
    blocks_of(qemu).start_copies([Copy("root", target, f"slap-{first}")], "slap-19700101-000000")
    _, whole, _ = keeping.make(BackupWish())
    assert not whole
    with keeping.restored(None, None, tmp_path / "new.qcow2") as disk:
        assert [content(disk, mebibyte) for mebibyte in range(3)] == [1, 2, 0]


@pytest.mark.parametrize("vault", [None, VAULT], ids=["files", "vault"])
@pytest.mark.parametrize(("verb", "times"), [("write_index", 0), ("put", 0), ("write_index", 1), ("remove", 0)])
def test_what_is_left_of_a_backup_that_was_cut_off_goes_with_the_next(
    qemu: Qemu, tmp_path: Path, vault: Vault | None, verb: str, times: int
) -> None:
    keeping, wish = Keeping(qemu, tmp_path), BackupWish(keep=1, vault=vault)
    keeping.make(wish)
    keeping.break_off(wish, verb, times, Killed())
    name, _, _ = keeping.make(wish)
    assert keeping.kept(vault) == ([name], [name])


@pytest.mark.parametrize("vault", [None, VAULT], ids=["files", "vault"])
def test_a_backup_that_finds_no_room_leaves_nothing(qemu: Qemu, tmp_path: Path, vault: Vault | None) -> None:
    """However often it is tried. The one before is still good, and what changed since it is in the next."""
    keeping, wish = Keeping(qemu, tmp_path), BackupWish(vault=vault)
    qemu.write(0, 1)
    first, _, _ = keeping.make(wish)
    qemu.write(1, 2)
    for _ in range(2):
        keeping.break_off(wish, "put", 0, StorageFull("The vault is full."))
        assert keeping.kept(vault) == ([first], [first])
        assert not keeping.backups.scratch.exists()
    second, is_whole, _ = keeping.make(wish)
    assert (keeping.kept(vault)[1], is_whole) == ([first, second], False)
    with keeping.restored(vault, second, tmp_path / "new.qcow2") as disk:
        assert [content(disk, mebibyte) for mebibyte in range(2)] == [1, 2]


def test_a_backup_whose_last_answer_was_lost_is_good(qemu: Qemu, tmp_path: Path) -> None:
    """It is in the vault's index, so it may not be removed; the next one builds on it."""
    keeping, wish = Keeping(qemu, tmp_path), BackupWish(vault=VAULT)
    for mebibyte in range(3):
        qemu.write(mebibyte, mebibyte + 1)
        if mebibyte == 1:
            keeping.break_off(wish, "write_index", 1, Unreachable("The vault cannot be used."))
        else:
            keeping.make(wish)
    points, folders = keeping.kept(VAULT)
    assert (len(points), folders) == (3, points)
    with keeping.restored(VAULT, None, tmp_path / "new.qcow2") as disk:
        assert [content(disk, mebibyte) for mebibyte in range(3)] == [1, 2, 3]


def test_a_machine_that_was_killed_is_copied_as_a_whole(disk: Path, tmp_path: Path) -> None:
    with running_qemu(disk) as qemu:
        qemu.write(0, 1)
        assert Keeping(qemu, tmp_path).make(BackupWish())[1]
        qemu.process.kill()
        qemu.process.wait()
    with running_qemu(disk) as qemu:
        keeping = Keeping(qemu, tmp_path)
        keeping.clock.sleep(600)
        assert keeping.make(BackupWish())[1]
        assert not keeping.make(BackupWish())[1]


def test_a_machine_that_ended_well_goes_on_where_it_was(disk: Path, tmp_path: Path) -> None:
    with running_qemu(disk) as qemu:
        Keeping(qemu, tmp_path).make(BackupWish())
        qemu.write(5, 5)
    with running_qemu(disk) as qemu:
        keeping = Keeping(qemu, tmp_path)
        keeping.clock.sleep(600)
        assert not keeping.make(BackupWish())[1]
        with keeping.restored(None, None, tmp_path / "new.qcow2") as restored:
            assert content(restored, 5) == 5


def test_going_back_begins_a_new_row(disk: Path, tmp_path: Path) -> None:
    with running_qemu(disk) as qemu:
        blocks_of(qemu).take_snapshot("s")
        Keeping(qemu, tmp_path).make(BackupWish())
    PAST.go_back(disk, "s")
    with running_qemu(disk) as qemu:
        keeping = Keeping(qemu, tmp_path)
        keeping.clock.sleep(600)
        assert keeping.make(BackupWish())[1]


def test_a_backup_written_over_a_disk_leaves_its_snapshots(disk: Path, tmp_path: Path) -> None:
    with running_qemu(disk) as qemu:
        keeping = Keeping(qemu, tmp_path)
        qemu.write(1, 1)
        blocks_of(qemu).take_snapshot("s")
        qemu.write(1, 2)
        keeping.make(BackupWish())
        qemu.write(1, 3)
        qemu.write(2, 3)
    with keeping.backups.assembled(None, None) as tops:
        PAST.overwrite(tops["root"], disk)
    assert (content(disk, 1), content(disk, 2)) == (2, 0)
    PAST.go_back(disk, "s")
    assert content(disk, 1) == 1


def test_a_disk_that_grew_since_is_as_small_as_it_was_and_grows_again(disk: Path) -> None:
    PAST.take_snapshot(disk, "small")
    grow_disk(SystemRunner(), disk, "qcow2", 32 * MIB)
    assert PAST.size(disk) == 32 * MIB
    PAST.go_back(disk, "small")
    assert PAST.size(disk) == 16 * MIB
    grow_disk(SystemRunner(), disk, "qcow2", 32 * MIB)
    assert PAST.size(disk) == 32 * MIB


def test_no_room_for_a_backup_is_said_and_leaves_nothing(qemu: Qemu, tmp_path: Path) -> None:
    keeping = Keeping(qemu, tmp_path)
    qemu.write(0, 1)
    keeping.make(BackupWish())
    target = keeping.backups.scratch / "root.qcow2"
    keeping.backups.scratch.mkdir(exist_ok=True)
    blocks = blocks_of(qemu)
    with pytest.raises(CommandFailed):
        blocks.start_copies([Copy("root", target)], "slap-x")  # there is no such file
    assert "slap-x" not in [bitmap.name for bitmap in blocks.bitmaps()]
