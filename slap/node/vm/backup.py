"""Back up a running machine.

qemu notes in a bitmap, named after the point that it begins at, which parts of a disk change. The next backup copies
those, and another bitmap begins. The former one goes only when the copy is kept: cut off anywhere, the next backup has
all that the last one in the index does not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slap.model.errors import CommandFailed, SlapError
from slap.model.vm.life import BackupIndex, BackupPoint, BackupWish
from slap.node.vm.backup_points import is_full_backup_due, point_name, retain
from slap.node.vm.backup_store import Backups, Store
from slap.system import files
from slap.system.clock import Clock
from slap.system.disk.qemu_img import Past
from slap.system.libvirt.blocks import Bitmap, Blocks, Copy, Progress

_BITMAP = "slap-"
_SOONEST, _LATEST = 0.05, 2.0  # seconds between two looks at a copy on its way


@dataclass(frozen=True)
class BackupMaker:
    """`blocks` opens a short session with the running machine, which excludes all others."""

    past: Past
    backups: Backups
    clock: Clock
    disks: Mapping[str, Path]
    blocks: Callable[[], AbstractContextManager[Blocks]]

    def make(self, wish: BackupWish) -> BackupPoint:
        """Make a backup now, and delete those that are not retained."""
        store = self.backups.store(wish.vault)
        with files.exclusive(self.backups.scratch.parent / "backup.lock"):
            index = store.index()
            for left in index.leaving:
                store.remove(left)
            name = point_name(self.clock.now(), index)
            with self._scratch():
                copies = self._copy(index, name, wish.keep)
                point = BackupPoint(
                    name=name,
                    disks={copy.disk: copy.target.stat().st_size for copy in copies},
                    whole=tuple(copy.disk for copy in copies if not copy.since),
                )
                self._keep(store, index, point, wish.keep)
            with self.blocks() as blocks:
                _remove_bitmaps(blocks, blocks.bitmaps(), but=name)
            return point

    @contextmanager
    def _scratch(self) -> Iterator[None]:
        """A temporary folder for copies; an interrupted copy is deleted from the disk at once."""
        files.remove_tree(self.backups.scratch)
        files.make_folder(self.backups.scratch, 0o700)
        try:
            yield
        finally:
            files.remove_tree(self.backups.scratch)

    def _copy(self, index: BackupIndex, name: str, keep: int) -> tuple[Copy, ...]:
        with self.blocks() as blocks:
            self._clear_leftovers(blocks)
            bitmaps = blocks.bitmaps()
            last = index.points[-1].name if index.points else ""
            _remove_bitmaps(blocks, bitmaps, but=last)
            copies = plan_copies(index, bitmaps, self._targets(), keep)
            for copy in copies:
                self.past.make(copy.target, self.past.size(self.disks[copy.disk]))
            try:
                blocks.start_copies(copies, _BITMAP + name)
            except CommandFailed:
                blocks.clear_copies()
                raise
        pause = _SOONEST
        while not (progress := self._look(copies)).ended:
            self.clock.sleep(pause)
            pause = min(_LATEST, pause * 1.5)
        if progress.error:
            raise CommandFailed(
                "The backup broke off.", progress.error, "It is tried again; check the room on its disk."
            )
        return copies

    def _look(self, copies: tuple[Copy, ...]) -> Progress:
        with self.blocks() as blocks:
            progress = blocks.progress(copies)
            if progress.error and not progress.ended:
                blocks.cancel_copies()
            if progress.ended:
                blocks.clear_copies()
            return progress

    def _clear_leftovers(self, blocks: Blocks) -> None:
        """Remove copies of a backup whose process was killed, which qemu may still be writing."""
        blocks.cancel_copies()
        while not blocks.progress(()).ended:
            self.clock.sleep(_SOONEST)
        blocks.clear_copies()

    def _targets(self) -> dict[str, Path]:
        return {disk: self.backups.scratch / f"{disk}.qcow2" for disk in self.disks}

    def _keep(self, store: Store, index: BackupIndex, point: BackupPoint, keep: int) -> None:
        """Store a backup: the index names a point only while all its files exist.

        When the index is written last, a failure may be of the answer only: the point may be in it, so its files stay.
        """
        store.write_index(BackupIndex(points=index.points, leaving=(point.name,)))
        try:
            for disk, target in self._targets().items():
                store.put(point.name, disk, target)
        except SlapError:
            with suppress(SlapError):
                store.remove(point.name)
            raise
        kept, gone = retain(BackupIndex(points=(*index.points, point)), keep)
        leaving = tuple(each.name for each in gone)
        store.write_index(BackupIndex(points=kept.points, leaving=leaving))
        for each in leaving:
            store.remove(each)


def plan_copies(
    index: BackupIndex, bitmaps: Iterable[Bitmap], targets: Mapping[str, Path], keep: int
) -> tuple[Copy, ...]:
    """Copies of what changed since the last point, or of all; and whether a full backup begins."""
    last = index.points[-1] if index.points else None
    if last is None or is_full_backup_due(index, keep):
        return tuple(Copy(disk, target) for disk, target in targets.items())
    since = _BITMAP + last.name
    known = {each.disk for each in bitmaps if each.name == since and each.is_usable and each.disk in last.disks}
    return tuple(Copy(disk, target, since if disk in known else "") for disk, target in targets.items())


def _remove_bitmaps(blocks: Blocks, bitmaps: Iterable[Bitmap], but: str) -> None:
    for bitmap in bitmaps:
        if bitmap.name.startswith(_BITMAP) and (bitmap.name != _BITMAP + but or not bitmap.is_usable):
            blocks.remove_bitmap(bitmap)
