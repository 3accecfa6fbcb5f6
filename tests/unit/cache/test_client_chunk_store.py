"""The shelf: what was put is there, or it is as if it never was."""

import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha512
from pathlib import Path

import pytest

from slap.cache.client.chunk_store import ChunkStore


def name(content: bytes) -> str:
    return sha512(content).hexdigest()


def put(chunk_store: ChunkStore, *contents: bytes) -> None:
    chunk_store.put([(name(each), each) for each in contents])


def got(chunk_store: ChunkStore, content: bytes) -> bytes | None:
    return chunk_store.get([name(content)]).get(name(content))


def age(folder: Path, seconds: float) -> None:
    for path in (folder / "packs").iterdir():
        used = path.stat().st_mtime - seconds
        os.utime(path, (used, used))


def test_what_came_together_lies_in_one_file(tmp_path: Path) -> None:
    chunk_store = ChunkStore(tmp_path)
    put(chunk_store, b"one", b"", b"three")
    put(chunk_store)
    assert chunk_store.get([name(each) for each in (b"one", b"", b"three", b"four")]) == {
        name(each): each for each in (b"one", b"", b"three")
    }
    assert len(list((tmp_path / "packs").iterdir())) == 1
    assert got(ChunkStore(tmp_path), b"three") == b"three"


def test_it_is_trimmed_by_last_use(tmp_path: Path) -> None:
    chunk_store = ChunkStore(tmp_path)
    for number in range(4):
        put(chunk_store, bytes([number]) * 1000)
        age(tmp_path, 7200)
    got(chunk_store, bytes(1000))  # the first, which is used again
    chunk_store.trim(2500)
    assert [got(chunk_store, bytes([number]) * 1000) is not None for number in range(4)] == [True, False, False, True]


def test_a_pack_that_no_index_names_goes_after_a_while(tmp_path: Path) -> None:
    put(ChunkStore(tmp_path), b"kept")
    (tmp_path / "packs/fresh").write_bytes(b"somebody writes it")
    ChunkStore(tmp_path).trim(1 << 20)
    assert (tmp_path / "packs/fresh").exists()
    age(tmp_path, 7200)
    ChunkStore(tmp_path).trim(1 << 20)
    assert not (tmp_path / "packs/fresh").exists() and got(ChunkStore(tmp_path), b"kept") == b"kept"


def test_an_index_that_is_none_is_made_again(tmp_path: Path) -> None:
    put(ChunkStore(tmp_path), b"one")
    (tmp_path / "index.sqlite").write_bytes(b"no database at all" * 1000)
    (tmp_path / "index.sqlite-wal").unlink(missing_ok=True)
    chunk_store = ChunkStore(tmp_path)
    assert got(chunk_store, b"one") is None
    put(chunk_store, b"two")
    assert got(chunk_store, b"two") == b"two"


def test_a_pack_that_is_gone_is_as_if_it_never_was(tmp_path: Path) -> None:
    chunk_store = ChunkStore(tmp_path)
    put(chunk_store, b"one")
    for path in (tmp_path / "packs").iterdir():
        path.unlink()
    assert got(chunk_store, b"one") is None
    put(chunk_store, b"one")
    assert got(chunk_store, b"one") == b"one"
    chunk_store.drop(name(b"one"))
    assert got(chunk_store, b"one") is None


def test_many_may_use_it_at_once(tmp_path: Path) -> None:
    contents = [b"%d" % number * 100 for number in range(200)]
    shelves = [ChunkStore(tmp_path), ChunkStore(tmp_path)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: put(shelves[at % 2], contents[at]), range(len(contents))))
        assert list(pool.map(lambda each: got(shelves[0], each), contents)) == contents


def broken_index(folder: Path, kind: str) -> None:
    folder.mkdir(exist_ok=True)
    if kind == "no file":
        (folder / "index.sqlite").mkdir()
    elif kind == "of another form":
        with closing(sqlite3.connect(folder / "index.sqlite")) as index:
            index.execute("create table chunk (other text)")
    else:
        folder.rmdir()
        folder.write_text("not even a folder")


@pytest.mark.parametrize("kind", ["no file", "of another form", "no folder"])
def test_where_there_can_be_no_index_there_are_no_chunks_and_nothing_fails(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken_index(tmp_path / "chunks", kind)
    chunk_store = ChunkStore(tmp_path / "chunks")
    put(chunk_store, b"one")
    chunk_store.drop(name(b"one"))
    chunk_store.trim(0)
    assert got(chunk_store, b"one") is None and len(caplog.records) == 1


def test_a_locked_index_is_waited_for_once_and_then_left_alone_for_a_while(tmp_path: Path) -> None:
    chunk_store = ChunkStore(tmp_path)
    put(chunk_store, b"one")
    with closing(sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)) as neighbour:
        neighbour.execute("begin exclusive")
        started = time.monotonic()
        for each in (b"two", b"three", b"four"):
            put(chunk_store, each)
        assert time.monotonic() - started < 3
    assert len(list((tmp_path / "packs").iterdir())) == 1  # what no index names is not left there
    assert got(ChunkStore(tmp_path), b"one") == b"one"


def damage(file: Path) -> None:
    with file.open("r+b") as index:
        index.seek(0, 2)
        index.write(bytes(8192))
        index.seek(100)
        index.write(b"\xff" * 4000)


def test_an_index_that_is_damaged_while_it_is_used_is_begun_anew(tmp_path: Path) -> None:
    chunk_store = ChunkStore(tmp_path)
    put(chunk_store, b"one")
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as other:
        other.execute("pragma wal_checkpoint(truncate)")
    damage(tmp_path / "index.sqlite")
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as other, pytest.raises(sqlite3.DatabaseError):
        other.execute("select * from chunk").fetchall()
    got(chunk_store, b"nothing")
    put(chunk_store, b"two", b"three")
    put(chunk_store, b"two", b"three")
    assert got(chunk_store, b"two") == b"two" and got(ChunkStore(tmp_path), b"three") == b"three"


def test_whoever_meets_a_damaged_index_leaves_the_new_one_of_another_process_alone(tmp_path: Path) -> None:
    late, early = ChunkStore(tmp_path), ChunkStore(tmp_path)
    assert got(late, b"one") is None and got(early, b"one") is None
    for end in ("", "-wal", "-shm"):
        (tmp_path / f"index.sqlite{end}").unlink(missing_ok=True)
    put(anew := ChunkStore(tmp_path), b"one")
    late._close_index(sqlite3.DatabaseError("database disk image is malformed"))
    assert got(anew, b"one") == b"one" and got(late, b"one") == b"one"


def test_nothing_is_trimmed_while_the_index_does_not_say_what_is_known(tmp_path: Path) -> None:
    chunk_store = ChunkStore(tmp_path)
    put(chunk_store, b"kept")
    age(tmp_path, 7200)
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as other:
        other.execute("drop table chunk")
    chunk_store.trim(1 << 20)
    assert len(list((tmp_path / "packs").iterdir())) == 1
