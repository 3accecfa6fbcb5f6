"""Chunks that are here already: what a version brought is not fetched again for the next one.

    FOLDER/index.sqlite     FOLDER/packs/0123456789abcdef

What came together lies in one file, a pack: thousands of chunks in files of their own would cost more to make than to fetch.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from slap.cache.client.batch import Content
from slap.model.cache import Sha512
from slap.system import files

_HOUR = 3600.0
_PACK = 512 << 10  # bytes from which on a pack is large enough
_SCHEMA = """
pragma journal_mode = wal;
pragma synchronous = off;
create table if not exists chunk (sha512 blob primary key, pack text not null, start integer not null,
    size integer not null) without rowid;
create index if not exists chunk_by_pack on chunk (pack);
"""


class Shelf:
    """Safe to use from several threads and processes. Nothing in it is believed: who takes a chunk looks at its digest.

    So nothing is synced; what a crash cut off is found out, and fetched again.
    """

    def __init__(self, folder: Path) -> None:
        self._packs = folder / "packs"
        for each in (folder, self._packs):
            files.make_folder(each, 0o700)
        self._file = folder / "index.sqlite"
        self._lock = threading.Lock()
        self._index = self._opened()

    def get(self, sha512: Sha512) -> bytes | None:
        found = self._ask("select pack, start, size from chunk where sha512 = ?", (bytes.fromhex(sha512),))
        return self._read(*found[0]) if found else None

    def put(self, chunks: Iterable[tuple[Sha512, Content]]) -> None:
        """Keep chunks, if there is room; nothing depends on it."""
        name, rows, start = token_hex(8), [], 0
        for sha512, content in (kept := list(chunks)):
            rows.append((bytes.fromhex(sha512), name, start, len(content)))
            start += len(content)
        if not rows:
            return
        try:
            _write(self._packs / name, [content for _, content in kept])
        except OSError:
            (self._packs / name).unlink(missing_ok=True)
        else:
            self._change("insert or replace into chunk values (?, ?, ?, ?)", rows)

    def drop(self, sha512: Sha512) -> None:
        self._change("delete from chunk where sha512 = ?", [(bytes.fromhex(sha512),)])

    def trim(self, limit: int) -> None:
        """Remove packs that were used longest ago, until at most `limit` bytes are left. Costs as much as there are packs."""
        known = {name for (name,) in self._ask("select distinct pack from chunk")}
        packs = sorted(self._all(), key=lambda each: each[0])
        excess = sum(size for _, size, _ in packs) - limit
        gone = []
        for used, size, path in packs:
            is_lost = path.name not in known and time.time() - used > _HOUR  # by a crash, before the index named it
            if excess > 0 or is_lost:
                path.unlink(missing_ok=True)
                gone.append((path.name,))
                excess -= size
        self._change("delete from chunk where pack = ?", gone)

    def _read(self, pack: str, start: int, size: int) -> bytes | None:
        try:
            with open(self._packs / pack, "rb", buffering=0) as file:
                if time.time() - os.fstat(file.fileno()).st_mtime > _HOUR:
                    os.utime(file.fileno())
                return os.pread(file.fileno(), size, start)
        except OSError:
            return None

    def _all(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self._packs.iterdir():
            with suppress(FileNotFoundError):
                seen = path.stat()
                found.append((seen.st_mtime, seen.st_size, path))
        return found

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connected(self._file)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # it is none, or damaged
            self._forget()
            return _connected(self._file)

    def _ask(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        try:
            with self._lock:
                return self._index.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            self._give_up(error)
            return []

    def _change(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        try:
            with self._lock, self._index:
                self._index.executemany(statement, rows)
        except sqlite3.DatabaseError as error:
            self._give_up(error)

    def _give_up(self, error: sqlite3.DatabaseError) -> None:
        """A full disk or a busy neighbour pass; a damaged index is of no use to whoever comes next."""
        if not isinstance(error, sqlite3.OperationalError):
            self._forget()

    def _forget(self) -> None:
        for end in ("", "-wal", "-shm"):
            Path(f"{self._file}{end}").unlink(missing_ok=True)


class Packer:
    """Puts chunks on a shelf, in not too many packs: who is killed does not begin anew. For one thread."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._kept: list[tuple[Sha512, Content]] = []
        self._size = 0

    def put(self, sha512: Sha512, content: Content) -> None:
        self._kept.append((sha512, content))
        self._size += len(content)
        if self._size >= _PACK:
            self.flush()

    def flush(self) -> None:
        """Put what waits for more of its kind."""
        self._shelf.put(self._kept)
        self._kept, self._size = [], 0


def _connected(file: Path) -> sqlite3.Connection:
    index = sqlite3.connect(file, timeout=5, check_same_thread=False)
    index.executescript(_SCHEMA)
    return index


def _write(path: Path, contents: Sequence[Content]) -> None:
    with open(path, "xb", buffering=0, opener=_private) as file:
        for content in contents:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
