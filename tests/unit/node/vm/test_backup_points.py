"""Backups as a row of points."""

from datetime import UTC, datetime

import pytest

from slap.model.errors import NotFound
from slap.model.vm.life import BackupIndex, BackupPoint, BackupWish, LifeRecord
from slap.node.vm.backup_points import (
    chain,
    due_at,
    find_point,
    is_full_backup_due,
    point_name,
    restorable,
    retain,
    time_of,
)


def day(number: int) -> str:
    return f"202611{number:02}-120000"


def row(kinds: str) -> BackupIndex:
    """A point a day: W is whole, c has what changed."""
    return BackupIndex(
        points=tuple(
            BackupPoint(name=day(number), disks={"root": 1}, whole=("root",) if kind == "W" else ())
            for number, kind in enumerate(kinds, 1)
        )
    )


def kinds(index: BackupIndex) -> str:
    return "".join("W" if point.is_whole else "c" for point in index.points)


@pytest.mark.parametrize(
    ("kinds", "keep", "anew"),
    [
        ("", 3, True),
        ("W", 3, False),
        ("Wc", 3, False),
        ("Wcc", 3, True),
        ("WccW", 3, False),
        ("W", 1, True),
        ("c", 3, True),
    ],
)
def test_when_a_whole_one_is_made(kinds: str, keep: int, anew: bool) -> None:
    assert is_full_backup_due(row(kinds), keep) is anew


@pytest.mark.parametrize(
    ("before", "keep", "after"),
    [
        ("Wcc", 3, "Wcc"),
        ("WccW", 3, "WccW"),
        ("WccWc", 3, "WccWc"),
        ("WccWcc", 3, "Wcc"),
        ("WccWccW", 3, "WccW"),
        ("WW", 1, "W"),
        ("Wccc", 2, "Wccc"),
        ("", 3, ""),
    ],
)
def test_what_is_kept_can_be_restored(before: str, keep: int, after: str) -> None:
    kept, gone = retain(row(before), keep)
    assert kinds(kept) == after
    assert len(kept.points) + len(gone) == len(before)
    assert restorable(row(before))[-keep:] == kept.points[-keep:]
    assert restorable(kept)[-keep:] == kept.points[-keep:]


def test_for_ever_no_more_than_twice_as_many_are_there() -> None:
    index = BackupIndex()
    for number in range(60):
        whole = ("root",) if is_full_backup_due(index, 5) else ()
        point = BackupPoint(name=f"20261126-1200{number:02}", disks={"root": 1}, whole=whole)
        index, _ = retain(BackupIndex(points=(*index.points, point)), 5)
        assert restorable(index)[-5:] == index.points[-5:]
        assert len(index.points) < 10


def test_a_disk_that_came_later_has_a_chain_of_its_own() -> None:
    one, two, three = (
        BackupPoint(name=day(1), disks={"root": 9}, whole=("root",)),
        BackupPoint(name=day(2), disks={"root": 1, "data": 5}, whole=("data",)),
        BackupPoint(name=day(3), disks={"root": 1, "data": 1}),
    )
    points = (one, two, three)
    assert chain(points, day(3), "data") == (two, three)
    assert chain(points, day(3), "root") == points
    assert chain(points, day(2), "root") == (one, two)
    assert chain(points, day(1), "data") == ()
    assert restorable(BackupIndex(points=points[1:])) == ()


def test_a_point_is_found_by_name_or_is_the_newest() -> None:
    assert find_point(row("Wc"), None).name == day(2)
    assert find_point(row("Wc"), day(1)).name == day(1)
    with pytest.raises(NotFound, match="no backup 20261109-120000") as caught:
        find_point(row("Wc"), day(9))
    assert day(1) in caught.value.details
    with pytest.raises(NotFound, match="no backup"):
        find_point(row("cc"), None)


def test_names_grow_whatever_the_clock_says() -> None:
    now = datetime(2026, 11, 3, 12, tzinfo=UTC)
    assert point_name(now, BackupIndex()) == "20261103-120000"
    assert point_name(now, row("W")) == "20261103-120000"
    assert point_name(now, row("Wcc")) == "20261103-120001"
    assert point_name(now, row("Wcccc")) == "20261105-120001"


HOURLY = BackupWish(every=3600)
LAST = time_of(day(2))


@pytest.mark.parametrize(
    ("wish", "kinds", "record", "due"),
    [
        (BackupWish(), "", LifeRecord(), None),
        (BackupWish(), "Wc", LifeRecord(), None),
        (BackupWish(serial=1), "Wc", LifeRecord(), 0.0),
        (BackupWish(serial=1), "Wc", LifeRecord(backed_up=1), None),
        (HOURLY, "", LifeRecord(), 0.0),
        (HOURLY, "Wc", LifeRecord(), LAST + 3600),
        (HOURLY, "", LifeRecord(trouble="full", tried_at=1000.0), 1300.0),
        (HOURLY, "Wc", LifeRecord(trouble="full", tried_at=LAST + 3600), LAST + 3900),
        (HOURLY, "Wc", LifeRecord(trouble="full", tried_at=LAST + 10), LAST + 3600),
    ],
)
def test_when_the_next_is_due(wish: BackupWish, kinds: str, record: LifeRecord, due: float | None) -> None:
    assert due_at(wish, row(kinds), record) == due
