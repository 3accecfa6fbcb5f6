"""What any storage of a cache does."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slap.cache.storage.folder import Folder
from slap.cache.storage.storage import Storage
from slap.model.errors import InvalidInput, NotFound

NAME = "ab" * 64
KEY = f"blob/{NAME}"


def read(storage: Storage, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join(storage.get(key, start, end))


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (9 << 20) + 7, 21 << 20])
def test_an_object_comes_back_as_it_was(storage: Storage, size: int) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    pieces = [content[at : at + 700_001] for at in range(0, size, 700_001)]
    assert storage.put(KEY, pieces) == size
    assert storage.size(KEY) == size
    assert read(storage, KEY) == content
    assert all(len(piece) <= 1 << 20 for piece in storage.get(KEY))


@pytest.mark.parametrize(("start", "end"), [(0, 2), (3, 3), (5, 9), (9, None), (0, 100), (10, 20)])
def test_a_part_of_it_can_be_read(storage: Storage, start: int, end: int | None) -> None:
    storage.put(KEY, [b"0123456789"])
    assert read(storage, KEY, start, end) == b"0123456789"[start:end]


def test_what_was_never_stored_is_missing(storage: Storage) -> None:
    assert storage.size(KEY) is None
    with pytest.raises(NotFound):
        storage.get(KEY)
    storage.delete(KEY)


@pytest.mark.parametrize("size", [10, 20 << 20])
def test_a_source_that_fails_leaves_nothing(storage: Storage, size: int) -> None:
    def cut() -> Iterator[bytes]:
        yield b"x" * size
        yield b"y" * size
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError, match="went away"):
        storage.put(KEY, cut())
    assert storage.size(KEY) is None
    assert list(storage.keys()) == []


def test_it_is_not_there_before_it_is_whole(storage: Storage) -> None:
    seen = []

    def slowly() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * (5 << 20)
            seen.append((storage.size(KEY), [each.key for each in storage.keys("blob/")]))

    storage.put(KEY, slowly())
    assert seen == [(None, [])] * 3
    assert storage.size(KEY) == 15 << 20


def test_a_failed_replacement_leaves_the_former(storage: Storage) -> None:
    storage.put(KEY, [b"former"])

    def cut() -> Iterator[bytes]:
        yield b"z" * 100
        raise ValueError("cut")

    with pytest.raises(ValueError, match="cut"):
        storage.put(KEY, cut())
    assert read(storage, KEY) == b"former"
    storage.put(KEY, [b"later"])
    assert read(storage, KEY) == b"later"


def test_many_writers_of_one_object_leave_it_whole(storage: Storage) -> None:
    """They all have the same to write, for its name is its digest."""
    content = [bytes([number]) * 500_000 for number in range(3)]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: storage.put(KEY, content), range(8))) == {1_500_000}
    assert read(storage, KEY) == b"".join(content)


def test_of_many_writers_of_different_content_one_is_the_last(tmp_path: Path) -> None:
    """Of the S3 server that the other tests use this is not true."""
    storage = Folder(tmp_path / "objects")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: storage.put(KEY, [bytes([number]) * 500_000] * 3), range(8)))
    assert len(set(read(storage, KEY))) == 1


def test_keys_are_listed_in_order_by_their_beginning(storage: Storage) -> None:
    names = [f"entry/{digit * 64}/{number:03}" for digit in "a0b" for number in (2, 1)]
    for key in (*names, f"entry/{'a' * 60}bbbb/000", KEY):
        storage.put(key, [b"12345"])
    assert [each.key for each in storage.keys("entry/")] == sorted([*names, f"entry/{'a' * 60}bbbb/000"])
    assert [each.key for each in storage.keys(f"entry/{'a' * 64}/")] == [
        f"entry/{'a' * 64}/001",
        f"entry/{'a' * 64}/002",
    ]
    assert [each.key for each in storage.keys("entry/0")] == [f"entry/{'0' * 64}/001", f"entry/{'0' * 64}/002"]
    assert [each.key for each in storage.keys(f"entry/{'a' * 61}")] == [
        f"entry/{'a' * 64}/001",
        f"entry/{'a' * 64}/002",
    ]
    assert [each.key for each in storage.keys(KEY)] == [KEY]
    assert len(list(storage.keys())) == 8
    assert {each.size for each in storage.keys("")} == {5}


def test_a_last_use_is_of_now(storage: Storage) -> None:
    storage.put(KEY, [b"x"])
    storage.size(KEY)
    (found,) = storage.keys()
    assert abs(found.last_used - time.time()) < 120


def test_one_object_is_looked_at_without_a_list_of_its_neighbours(storage: Storage) -> None:
    """Garbage is removed by the million."""
    others = [f"blob/ab{number:0126x}" for number in range(3)]
    for key in (KEY, *others):
        storage.put(key, [b"12345"])
    (listed,) = [each for each in storage.keys("blob/") if each.key == KEY]
    assert list(storage.keys(KEY)) == [listed]
    storage.delete(KEY)
    assert list(storage.keys(KEY)) == []
    storage.put(f"{KEY}/member", [b"x"])
    assert [each.key for each in storage.keys(KEY)] == [f"{KEY}/member"]


def test_what_was_removed_is_gone(storage: Storage) -> None:
    storage.put(KEY, [b"x"])
    storage.delete(KEY)
    assert storage.size(KEY) is None
    assert list(storage.keys()) == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "blob",
        "blob/",
        "blob/..",
        "blob/../../etc",
        f"Blob/{NAME}",
        f"blob/{NAME}/..",
        f"/{KEY}",
        f"{KEY}/a/b",
        f"{KEY}\n",
        "aside/x",
    ],
)
def test_what_is_no_name_is_refused(storage: Storage, key: str) -> None:
    for use in (storage.size, storage.delete, storage.get, lambda key: storage.put(key, [b""])):
        with pytest.raises(InvalidInput):
            use(key)
