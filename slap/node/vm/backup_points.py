"""Arithmetic of backup points: when the next is due, its base, which to delete, how to restore."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from slap.model.errors import NotFound
from slap.model.vm.life import BackupIndex, BackupPoint, BackupWish, LifeRecord

_FORM = "%Y%m%d-%H%M%S"
_RETRY = 300.0  # seconds after which a backup that failed is tried again, at the earliest


def point_name(now: datetime, index: BackupIndex) -> str:
    """The name of a new point: its time, but later than all others."""
    name = now.astimezone(UTC).strftime(_FORM)
    newest = index.points[-1].name if index.points else ""
    if name > newest:
        return name
    return datetime.fromtimestamp(time_of(newest) + 1, UTC).strftime(_FORM)


def time_of(point: str) -> float:
    """The time of a point, in seconds since the epoch."""
    return datetime.strptime(point, _FORM).replace(tzinfo=UTC).timestamp()


def due_at(wish: BackupWish, index: BackupIndex, record: LifeRecord) -> float | None:
    """When the next backup is due; None without a schedule. A past time means now."""
    if wish.serial > record.backed_up:
        return 0.0
    if not wish.every:
        return None
    if not index.points:
        return record.tried_at + _RETRY if record.trouble else 0.0
    next_one = time_of(index.points[-1].name) + wish.every
    return max(next_one, record.tried_at + min(_RETRY, wish.every)) if record.trouble else next_one


def is_full_backup_due(index: BackupIndex, keep: int) -> bool:
    """Whether the next point is a full backup: after `keep` points, so that older ones can be deleted."""
    ages = (age for age, point in enumerate(reversed(index.points), 1) if point.is_whole)
    return next(ages, keep) >= keep


def retain(index: BackupIndex, keep: int) -> tuple[BackupIndex, tuple[BackupPoint, ...]]:
    """The points to keep and to delete: the last `keep` and all that they depend on are kept."""
    needed: set[str] = set()
    for point in index.points[-keep:]:
        for disk in point.disks:
            needed |= {each.name for each in chain(index.points, point.name, disk)}
    stays = tuple(point for point in index.points if point.name in needed)
    return BackupIndex(points=stays), tuple(point for point in index.points if point.name not in needed)


def restorable(index: BackupIndex) -> tuple[BackupPoint, ...]:
    """The points that can be restored: no part is missing."""
    return tuple(point for point in index.points if all(chain(index.points, point.name, disk) for disk in point.disks))


def chain(points: Sequence[BackupPoint], name: str, disk: str) -> tuple[BackupPoint, ...]:
    """The files that a disk at a point consists of, the full one first; empty when one is missing."""
    found: list[BackupPoint] = []
    for point in reversed([each for each in points if each.name <= name]):
        if disk not in point.disks:
            return ()
        found.insert(0, point)
        if disk in point.whole:
            return tuple(found)
    return ()


def find_point(index: BackupIndex, name: str | None) -> BackupPoint:
    """The point of a name, or the newest; raises NotFound, naming the points that exist."""
    points = restorable(index)
    found = points[-1:] if name is None else [point for point in points if point.name == name]
    if found:
        return found[0]
    what = f"no backup {name}" if name else "no backup"
    raise NotFound(f"There is {what}.", _known(points), "Order restore with one that exists.")


def _known(points: Iterable[BackupPoint]) -> str:
    names = ", ".join(point.name for point in points)
    return f"There are: {names}." if names else "None was made yet."
