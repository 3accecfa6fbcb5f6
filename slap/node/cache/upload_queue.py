"""What a node remembers of caches: builds that are to be uploaded, shared parts that came from a cache, and caches that were
of no use a moment ago. SQLite."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slap.model.cache import EntryKind
from slap.model.errors import CommandFailed

_SCHEMA = """
create table if not exists upload (kind text, key text, folder text not null, started integer not null,
    built integer not null, due real not null, failures integer not null default 0, why text not null default '',
    primary key (kind, key));
create index if not exists upload_due on upload (due);
create table if not exists bad (cache text primary key, until real not null, failures integer not null,
    why text not null);
create table if not exists taken (part text primary key);
"""
# A cache that failed is asked again after a minute, and later the more often it failed.
_SHORTEST = 60.0
_LONGEST = 3600.0


@dataclass(frozen=True)
class Upload:
    """An upload that is due: a release by its URL, or a shared part by its digest."""

    kind: EntryKind
    key: str
    folder: str  # the path of it
    started: int
    built: int
    due: float = 0.0
    failures: int = 0
    why: str = ""  # of the last failure


@dataclass(frozen=True)
class BadCache:
    """A cache that is skipped until a time."""

    cache: str
    until: float
    failures: int
    why: str


class CacheStore:
    """The database of the queue. One transaction a call; safe between threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        path.touch(0o600)
        self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = normal")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def queue(self, upload: Upload) -> None:
        """Queue an upload, replacing what was queued for the same build."""
        self._do(
            "insert or replace into upload values (?, ?, ?, ?, ?, ?, ?, ?)",
            upload.kind, upload.key, upload.folder, upload.started, upload.built, upload.due, upload.failures, upload.why,
        )  # fmt: skip

    def queue_new(self, upload: Upload) -> None:
        """Queue an upload unless it is queued: for builds that never change."""
        if not self._do("select 1 from upload where kind = ? and key = ?", upload.kind, upload.key):
            self.queue(upload)

    def forget(self, kind: EntryKind, key: str) -> None:
        self._do("delete from upload where kind = ? and key = ?", kind, key)

    def uploads(self) -> tuple[Upload, ...]:
        """All uploads, the next one first."""
        rows = self._do("select kind, key, folder, started, built, due, failures, why from upload order by due, built")
        return tuple(Upload(EntryKind(row[0]), *row[1:]) for row in rows)

    def next_upload(self) -> Upload | None:
        query = "select kind, key, folder, started, built, due, failures, why from upload order by due, built limit 1"
        rows = self._do(query)
        return Upload(EntryKind(rows[0][0]), *rows[0][1:]) if rows else None

    def bad(self, now: float) -> tuple[BadCache, ...]:
        """The caches to skip now."""
        rows = self._do("select cache, until, failures, why from bad where until > ? order by cache", now)
        return tuple(BadCache(*row) for row in rows)

    def mark_bad(self, cache: str, why: str, now: float) -> BadCache:
        """Skip a cache for a while, longer if it failed before not long ago."""
        with self._transaction():
            rows = self._do("select failures from bad where cache = ? and until > ?", cache, now - _LONGEST)
            failures = int(rows[0][0]) + 1 if rows else 1
            until = now + min(_LONGEST, _SHORTEST * 2.0 ** min(failures - 1, 10))
            self._do("insert or replace into bad values (?, ?, ?, ?)", cache, until, failures, why)
        return BadCache(cache, until, failures, why)

    def mark_good(self, cache: str) -> None:
        self._do("delete from bad where cache = ?", cache)

    def note_taken(self, part: str) -> None:
        """Record that a shared part, NAME/DIGEST, came from a cache."""
        self._do("insert or ignore into taken values (?)", part)

    def forget_taken(self, part: str) -> None:
        self._do("delete from taken where part = ?", part)

    def taken_parts(self) -> frozenset[str]:
        return frozenset(row[0] for row in self._do("select part from taken"))

    def _do(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._told(), self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._told(), self._lock, self._connection:
            self._connection.execute("begin immediate")
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CommandFailed(
                "The node cannot use its memory.", f"{self._path}: {error}.", "Make room on its disk."
            ) from error
