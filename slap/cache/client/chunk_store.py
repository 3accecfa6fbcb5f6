"""Local store of downloaded chunks, so that the next version of a release downloads only what changed.

    FOLDER/index.sqlite     FOLDER/packs/0123456789abcdef

Chunks that are stored together share one file, a pack: creating thousands of small files would cost more than the download.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from slap.cache.client.blob_batch import Content
from slap.model.cache import Sha512
from slap.system import files

log = logging.getLogger(__name__)

T = TypeVar("T")

_HOUR = 3600.0
# Seconds for which an index that failed is left alone, and those that are waited for others who write to it.
_RETRY_SECONDS = 60.0
_LOCK_TIMEOUT_SECONDS = 1.0
_MIN_PACK_BYTES = 512 << 10  # bytes from which on a pack is large enough
_SCHEMA = """
pragma journal_mode = wal;
pragma synchronous = off;
create table if not exists chunk (sha512 blob primary key, pack text not null, start integer not null,
    size integer not null) without rowid;
create index if not exists chunk_by_pack on chunk (pack);
"""


class ChunkStore:
    """Store of chunks, for several threads and processes. Callers verify the digest of every chunk that they get.

    Therefore nothing is synced to disk: a chunk that a crash truncated is detected and downloaded again. No method raises
    on a failing disk or index: the store then behaves as if it were empty, and logs a warning once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packs = folder / "packs"
        self._file = folder / "index.sqlite"
        self._lock = threading.Lock()
        self._index: sqlite3.Connection | None = None
        self._inode = 0  # of the index that was opened: another process may have put a new one in its place
        self._retry_at = 0.0  # when it may be opened again
        self._is_logged = False

    def get(self, wanted: Sequence[Sha512]) -> dict[Sha512, bytes]:
        """Return the stored chunks among `wanted`, by digest."""
        keys = [bytes.fromhex(each) for each in wanted]
        marks = ",".join("?" * len(keys))
        found = self._query(f"select sha512, pack, start, size from chunk where sha512 in ({marks})", keys) or []
        read = {sha512.hex(): self._read(*where) for sha512, *where in found}
        return {sha512: content for sha512, content in read.items() if content is not None}

    def put(self, chunks: Iterable[tuple[Sha512, Content]]) -> None:
        """Store chunks; failures are logged and otherwise ignored."""
        name, rows, start = token_hex(8), [], 0
        for sha512, content in (stored := list(chunks)):
            rows.append((bytes.fromhex(sha512), name, start, len(content)))
            start += len(content)
        if not rows or not self._is_usable():
            return
        try:
            _write(self._packs / name, [content for _, content in stored])
        except OSError as error:
            self._log_once(error)
            self._remove(name)
        else:
            if not self._change("insert or replace into chunk values (?, ?, ?, ?)", rows):
                self._remove(name)

    def drop(self, sha512: Sha512) -> None:
        self._change("delete from chunk where sha512 = ?", [(bytes.fromhex(sha512),)])

    def trim(self, limit: int) -> None:
        """Remove the least recently used packs until at most `limit` bytes are left; time grows with their number."""
        found = self._query("select distinct pack from chunk")
        if found is None:  # which are known cannot be said, so none may be called lost
            return
        known = {name for (name,) in found}
        packs = sorted(self._list_packs(), key=lambda each: each[0])
        excess = sum(size for _, size, _ in packs) - limit
        gone = []
        for used, size, name in packs:
            is_lost = name not in known and time.time() - used > _HOUR  # by a crash, before the index named it
            if (excess > 0 or is_lost) and self._remove(name):
                gone.append((name,))
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

    def _list_packs(self) -> list[tuple[float, int, str]]:
        found = []
        with suppress(OSError):
            for path in self._packs.iterdir():
                with suppress(FileNotFoundError):
                    seen = path.stat()
                    found.append((seen.st_mtime, seen.st_size, path.name))
        return found

    def _remove(self, pack: str) -> bool:
        try:
            (self._packs / pack).unlink(missing_ok=True)
        except OSError as error:
            self._log_once(error)
            return False
        return True

    def _query(self, query: str, values: Sequence[object] = ()) -> list[Any] | None:
        """Return the rows of a query; None when the index cannot be read."""
        return self._with_index(lambda index: index.execute(query, values).fetchall())

    def _change(self, statement: str, rows: Sequence[Sequence[object]]) -> bool:
        """Return whether the change was written."""

        def change(index: sqlite3.Connection) -> bool:
            with index:
                index.executemany(statement, rows)
            return True

        return bool(self._with_index(change))

    def _is_usable(self) -> bool:
        return bool(self._with_index(lambda index: True))

    def _with_index(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        with self._lock:
            if time.monotonic() < self._retry_at:
                return None
            try:
                return work(self._open_index())
            except (sqlite3.Error, OSError) as error:
                self._close_index(error)
                return None

    def _open_index(self) -> sqlite3.Connection:
        if self._index is None:
            for each in (self._folder, self._packs):
                files.make_folder(each, 0o700)
            self._index = sqlite3.connect(self._file, timeout=_LOCK_TIMEOUT_SECONDS, check_same_thread=False)
            self._inode = self._file.stat().st_ino
            self._index.executescript(_SCHEMA)
        return self._index

    def _close_index(self, error: Exception) -> None:
        """Close the index after an error; remove it when it is damaged, otherwise pause before it is opened again."""
        self._log_once(error)
        is_damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if is_damaged:
            self._remove_index()
        else:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
        if self._index:
            self._index.close()
        self._index = None

    def _remove_index(self) -> None:
        """Remove a damaged index, unless another process did that already, and has a new one."""
        with suppress(OSError):
            if self._file.stat().st_ino == self._inode:
                for end in ("", "-wal", "-shm"):
                    Path(f"{self._file}{end}").unlink(missing_ok=True)

    def _log_once(self, error: Exception) -> None:
        if not self._is_logged:
            self._is_logged = True
            log.warning("Chunks in %s cannot be used as they should; it goes on without: %s", self._folder, error)


class PackWriter:
    """Stores chunks in packs of a minimum size, so that an interrupted upload resumes. For one thread."""

    def __init__(self, chunk_store: ChunkStore) -> None:
        self._chunk_store = chunk_store
        self._buffered: list[tuple[Sha512, Content]] = []
        self._size = 0

    def put(self, sha512: Sha512, content: Content) -> None:
        self._buffered.append((sha512, content))
        self._size += len(content)
        if self._size >= _MIN_PACK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Store the buffered chunks."""
        self._chunk_store.put(self._buffered)
        self._buffered, self._size = [], 0


def _write(path: Path, contents: Sequence[Content]) -> None:
    with open(path, "xb", buffering=0, opener=_private) as file:
        for content in contents:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
