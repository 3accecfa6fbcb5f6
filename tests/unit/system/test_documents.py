"""What one release, or another few documents, may take: time, bytes, files; and which files are read."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slap.model.errors import InvalidInput, NotFound, SlapError, Unreachable
from slap.system.network.documents import Budget, DocumentReader, Limits, OverBudget, Sources
from slap.system.trust.untrusted_files import open_regular

LIMITS = Limits(seconds=10, max_bytes=100, max_file_bytes=60, max_files=2)


class Hours:
    """A clock that somebody else turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def add(budget: Budget, *sizes: int) -> None:
    for size in sizes:
        budget.add(bytearray(), b"x" * size)


def begin_three(budget: Budget) -> None:
    for _ in range(3):
        budget.begin_file()


@pytest.mark.parametrize(
    "use",
    [
        lambda budget: add(budget, 61),
        lambda budget: add(budget, 51, 50),
        begin_three,
        lambda budget: budget.count(100 + (256 << 10) + 1),
    ],
    ids=["a large file", "many bytes", "many files", "many bytes that nobody wants"],
)
def test_more_than_the_budget_is_refused(use: Callable[[Budget], object]) -> None:
    with pytest.raises(OverBudget):
        use(Budget(LIMITS))


@pytest.mark.parametrize("use", [Budget.begin_file, Budget.seconds_left, lambda budget: add(budget, 1)])
def test_after_the_deadline_nothing_goes_on(use: Callable[[Budget], object]) -> None:
    hours = Hours()
    budget = Budget(LIMITS, hours)
    hours.now = 9.0
    use(budget)
    assert (budget.seconds_left(), budget.seconds_left(5.0), budget.seconds_left(0.5)) == (1.0, 1.0, 0.5)
    hours.now = 10.0
    with pytest.raises(Unreachable):
        use(budget)


def test_the_budget_is_for_all_files_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("x" * 55)
    reader = DocumentReader(Sources(folders=(tmp_path,)), LIMITS)
    assert reader.read(str(tmp_path / "a")) == "x" * 55
    with pytest.raises(InvalidInput, match="b cannot be read") as caught:
        reader.read(str(tmp_path / "b"))
    assert "more than 100 bytes" in caught.value.details


@pytest.mark.parametrize("name", ["folder/file", "folder/../folder/file", "folder/link-inside", "way/file"])
def test_a_file_below_a_folder_is_read_whichever_way(tmp_path: Path, name: str) -> None:
    furnish(tmp_path)
    with open_regular(tmp_path / name, [tmp_path / "folder", tmp_path / "way"]) as file:
        assert file.read() == b"inside"


@pytest.mark.parametrize(
    "name",
    ["secret", "folder/../secret", "folder/link-outside", "folder/link-up/secret", "folder/nothing", "folder/pipe",
     "folder", "folderol", "folder/link-to-device", "folder/inner/../../secret"],
)  # fmt: skip
def test_no_other_file_is_opened(tmp_path: Path, name: str) -> None:
    furnish(tmp_path)
    with pytest.raises(OSError, match=r"\w"):
        open_regular(Path(os.path.join(tmp_path, name)), [tmp_path / "folder"])


def furnish(place: Path) -> None:
    (place / "folder/inner").mkdir(parents=True)
    (place / "folder/file").write_text("inside")
    (place / "secret").write_text("outside")
    (place / "folderol").write_text("outside")
    os.mkfifo(place / "folder/pipe")
    for name, target in (
        ("folder/link-inside", "file"),
        ("folder/link-outside", "../secret"),
        ("folder/link-up", ".."),
        ("folder/link-to-device", "/dev/zero"),
        ("way", "folder"),
    ):
        (place / name).symlink_to(target)


@pytest.mark.parametrize(
    ("as_myself", "name", "kind", "details"),
    [
        (True, "folder/nothing", NotFound, "There is no such file."),
        (True, "folder/pipe", InvalidInput, "not a regular file"),
        (True, "folder/\0", InvalidInput, "null byte"),
        (False, "folder/nothing", NotFound, "where files may be read"),
        (False, "folder/pipe", NotFound, "where files may be read"),
        (False, "folder/\0", NotFound, "where files may be read"),
        (False, "secret", NotFound, "where files may be read"),
    ],
)
def test_only_who_may_read_it_is_told_what_a_file_is(
    tmp_path: Path, as_myself: bool, name: str, kind: type[SlapError], details: str
) -> None:
    furnish(tmp_path)
    reader = DocumentReader(Sources(folders=(tmp_path / "folder",), as_myself=as_myself), Limits())
    with pytest.raises(kind) as caught:
        reader.read(f"{tmp_path}/{name}")
    assert details in caught.value.details
