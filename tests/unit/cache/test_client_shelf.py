"""The shelf: what was put is there, or it is as if it never was."""

import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha512
from pathlib import Path

from slap.cache.client.shelf import Shelf


def name(content: bytes) -> str:
    return sha512(content).hexdigest()


def put(shelf: Shelf, *contents: bytes) -> None:
    shelf.put([(name(each), each) for each in contents])


def age(folder: Path, seconds: float) -> None:
    for path in (folder / "packs").iterdir():
        used = path.stat().st_mtime - seconds
        os.utime(path, (used, used))


def test_what_came_together_lies_in_one_file(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    put(shelf, b"one", b"", b"three")
    put(shelf)
    assert [shelf.get(name(each)) for each in (b"one", b"", b"three", b"four")] == [b"one", b"", b"three", None]
    assert len(list((tmp_path / "packs").iterdir())) == 1
    assert Shelf(tmp_path).get(name(b"three")) == b"three"


def test_it_is_trimmed_by_last_use(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for number in range(4):
        put(shelf, bytes([number]) * 1000)
        age(tmp_path, 7200)
    shelf.get(name(bytes(1000)))  # the first, which is used again
    shelf.trim(2500)
    assert [shelf.get(name(bytes([number]) * 1000)) is not None for number in range(4)] == [True, False, False, True]


def test_a_pack_that_no_index_names_goes_after_a_while(tmp_path: Path) -> None:
    put(Shelf(tmp_path), b"kept")
    (tmp_path / "packs/fresh").write_bytes(b"somebody writes it")
    Shelf(tmp_path).trim(1 << 20)
    assert (tmp_path / "packs/fresh").exists()
    age(tmp_path, 7200)
    Shelf(tmp_path).trim(1 << 20)
    assert not (tmp_path / "packs/fresh").exists() and Shelf(tmp_path).get(name(b"kept")) == b"kept"


def test_an_index_that_is_none_is_made_again(tmp_path: Path) -> None:
    put(Shelf(tmp_path), b"one")
    (tmp_path / "index.sqlite").write_bytes(b"no database at all" * 1000)
    (tmp_path / "index.sqlite-wal").unlink(missing_ok=True)
    shelf = Shelf(tmp_path)
    assert shelf.get(name(b"one")) is None
    put(shelf, b"two")
    assert shelf.get(name(b"two")) == b"two"


def test_a_pack_that_is_gone_is_as_if_it_never_was(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    put(shelf, b"one")
    for path in (tmp_path / "packs").iterdir():
        path.unlink()
    assert shelf.get(name(b"one")) is None
    put(shelf, b"one")
    assert shelf.get(name(b"one")) == b"one"
    shelf.drop(name(b"one"))
    assert shelf.get(name(b"one")) is None


def test_many_may_use_it_at_once(tmp_path: Path) -> None:
    contents = [b"%d" % number * 100 for number in range(200)]
    shelves = [Shelf(tmp_path), Shelf(tmp_path)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: put(shelves[at % 2], contents[at]), range(len(contents))))
        assert list(pool.map(lambda each: shelves[0].get(name(each)), contents)) == contents
