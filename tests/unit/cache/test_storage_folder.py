"""What storage in a folder does beside what all storages do."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slap.cache.storage.folder import Folder
from slap.cache.storage.url import open_storage
from slap.model.errors import InvalidInput

NAME = "ab" * 64
KEY = f"blob/{NAME}"
OLD = time.time() - 86_400


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def age(folder: Path) -> Path:
    path = folder / "blob/ab" / NAME
    os.utime(path, (OLD, OLD))
    return path


def test_asking_for_an_object_is_a_use_and_reading_it_is_none(storage: Folder, tmp_path: Path) -> None:
    storage.put(KEY, [b"x"])
    path = age(tmp_path)
    assert list(storage.get(KEY)) == [b"x"]
    assert path.stat().st_mtime == OLD
    storage.size(KEY)
    assert time.time() - path.stat().st_mtime < 60


def test_a_use_is_not_written_again_within_the_hour(storage: Folder, tmp_path: Path) -> None:
    storage.put(KEY, [b"x"])
    path = tmp_path / "blob/ab" / NAME
    lately = time.time() - 600
    os.utime(path, (lately, lately))
    storage.size(KEY)
    assert path.stat().st_mtime == pytest.approx(lately)


def test_writing_and_removing_members_of_one_name_do_not_clash(storage: Folder) -> None:
    def turn(number: int) -> None:
        for _ in range(100):
            storage.put(f"entry/{NAME}/{number}", [b"x"])
            storage.delete(f"entry/{NAME}/{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(turn, range(4)))
    assert list(storage.keys("")) == []


def test_what_a_killed_writer_left_goes_at_the_start_and_what_is_being_written_stays(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    left = tmp_path / "aside/0123"
    left.write_bytes(b"half")
    os.utime(left, (OLD, OLD))

    def chunks() -> Iterator[bytes]:
        yield b"one"
        for path in (tmp_path / "aside").iterdir():
            os.utime(path, (OLD, OLD))
        Folder(tmp_path)
        yield b"two"

    assert storage.put(KEY, chunks()) == 6
    assert b"".join(storage.get(KEY)) == b"onetwo"
    assert list((tmp_path / "aside").iterdir()) == []


def test_a_url_names_a_storage(tmp_path: Path) -> None:
    open_storage("objects", tmp_path).put(KEY, [b"x"])
    assert open_storage(f"file://{tmp_path}/objects", Path("/")).size(KEY) == 1


@pytest.mark.parametrize("url", ["http://host/x", "s4://bucket", "file://host/x"])
def test_what_is_no_storage_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is no storage"):
        open_storage(url, tmp_path)
