"""SQLite store of trusted and revoked keys, and of the newest entry accepted for each cache key."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slap.cache.trust.keys import PublicKey, parse_public_key
from slap.model.cache import KeyId
from slap.model.errors import Conflict, NotFound, SlapError

_SCHEMA = """
create table if not exists trusted (id text primary key, line text not null, follows integer not null,
    because text not null, retired_at integer);
create table if not exists allowed (id text, url text, primary key (id, url));
create table if not exists revoked (id text primary key, at integer not null, reason text not null);
create table if not exists seen (question text, signer text, version integer not null, digest text not null,
    primary key (question, signer));
create table if not exists former (id text primary key, pem text not null, comment text not null);
"""


@dataclass(frozen=True)
class TrustedKey:
    """A key whose entries are accepted.

    `urls` limit it to releases below these; such a key signs no shared parts. `follows`: it may name its own successor.
    `because` is the key that named this one, and empty for a key that the operator trusts. What it signed after
    `retired_at` is its successor's to sign.
    """

    key: PublicKey
    urls: tuple[str, ...] = ()
    follows: bool = False
    because: KeyId = ""
    retired_at: int | None = None


@dataclass(frozen=True)
class RevokedKey:
    """A key whose entries are rejected whatever their date: who stole a key can backdate entries."""

    id: KeyId
    at: int
    reason: str = ""


@dataclass(frozen=True)
class SlaposKey:
    """An RSA key of a SlapOS cache, in PEM, as a certificate or as a public key; taken because the operator said so."""

    id: KeyId
    pem: str
    comment: str = ""


@dataclass(frozen=True)
class SeenEntry:
    """The highest version that a signer answered a question with, and the digest of that statement."""

    version: int
    digest: str


class TrustStore:
    """What verify() asks. Safe between threads, and between processes by SQLite's own locks.

    Each look-up is one by primary key: the cost does not grow with what was seen.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        with self._explain_errors():
            path.touch(0o600)
            self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
            self._connection.execute("pragma journal_mode = wal")
            self._connection.execute("pragma synchronous = full")
            self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def trusted(self) -> tuple[TrustedKey, ...]:
        rows = self._rows("select id, line, follows, because, retired_at from trusted order by rowid")
        return tuple(self._load_key(row) for row in rows)

    def find(self, key: KeyId) -> TrustedKey | None:
        rows = self._rows("select id, line, follows, because, retired_at from trusted where id = ?", key)
        return self._load_key(rows[0]) if rows else None

    def trust(self, trusted: TrustedKey) -> None:
        """Take what this key signs, from now on; again for the same key replaces its limits. A revoked one stays so."""
        with self._transaction():
            if found := self.revoked_key(trusted.key.id):
                raise Conflict(
                    f"Key {found.id[:16]} was revoked.",
                    found.reason,
                    "Its holder makes a new one: slapos cache keygen.",
                )
            self._save_key(trusted)

    def distrust(self, key: KeyId) -> None:
        """Forget a key, which is less than revoking it: it may be trusted again. Raises NotFound for an unknown one."""
        with self._transaction():
            if not self._connection.execute("delete from trusted where id = ?", (key,)).rowcount:
                raise NotFound(f"No key {key[:16]} is trusted here.", resolution="slapos cache trust lists them.")
            self._connection.execute("delete from allowed where id = ?", (key,))

    def succeed(self, former: KeyId, successor: TrustedKey, at: int) -> None:
        """The successor is trusted from now on; the former key for what it signed until then."""
        with self._transaction():
            self._save_key(successor)
            self._connection.execute("update trusted set retired_at = ? where id = ?", (at, former))

    def revoke(self, revoked: RevokedKey) -> None:
        """Nothing of this key is taken any more, nor of those that are trusted only because it named them."""
        with self._transaction():
            self._connection.execute(
                "insert into revoked values (?, ?, ?) on conflict (id) do nothing",
                (revoked.id, revoked.at, revoked.reason),
            )

    def revoked(self) -> tuple[RevokedKey, ...]:
        return tuple(RevokedKey(*row) for row in self._rows("select id, at, reason from revoked order by at, id"))

    def revoked_key(self, key: KeyId) -> RevokedKey | None:
        rows = self._rows("select id, at, reason from revoked where id = ?", key)
        return RevokedKey(*rows[0]) if rows else None

    def highest(self, cache_key: str, signer: KeyId) -> SeenEntry | None:
        """What was last taken for a question (Question.id) from a signer."""
        rows = self._rows("select version, digest from seen where question = ? and signer = ?", cache_key, signer)
        return SeenEntry(*rows[0]) if rows else None

    def note(self, cache_key: str, signer: KeyId, seen: SeenEntry) -> None:
        """Remember what was taken; an older one changes nothing, whoever comes later."""
        with self._transaction():
            self._connection.execute(
                "insert into seen values (?, ?, ?, ?) on conflict (question, signer) do update "
                "set version = excluded.version, digest = excluded.digest where excluded.version > seen.version",
                (cache_key, signer, seen.version, seen.digest),
            )

    def former(self) -> tuple[SlaposKey, ...]:
        """Keys of SlapOS caches that the operator opted in to; none by default."""
        return tuple(SlaposKey(*row) for row in self._rows("select id, pem, comment from former order by rowid"))

    def trust_slapos_key(self, key: SlaposKey) -> None:
        with self._transaction():
            self._connection.execute("insert or replace into former values (?, ?, ?)", (key.id, key.pem, key.comment))

    def distrust_slapos_key(self, key: KeyId) -> None:
        with self._transaction():
            if not self._connection.execute("delete from former where id = ?", (key,)).rowcount:
                raise NotFound(f"No key {key[:16]} of a SlapOS cache is trusted here.")

    def _save_key(self, trusted: TrustedKey) -> None:
        row = (trusted.key.id, trusted.key.line, trusted.follows, trusted.because, trusted.retired_at)
        self._connection.execute("insert or replace into trusted values (?, ?, ?, ?, ?)", row)
        self._connection.execute("delete from allowed where id = ?", (trusted.key.id,))
        self._connection.executemany(
            "insert or ignore into allowed values (?, ?)", [(trusted.key.id, url) for url in trusted.urls]
        )

    def _load_key(self, row: tuple[Any, ...]) -> TrustedKey:
        urls = self._rows("select url from allowed where id = ? order by url", row[0])
        return TrustedKey(parse_public_key(row[1]), tuple(url for (url,) in urls), bool(row[2]), row[3], row[4])

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._explain_errors():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._explain_errors(), self._connection:  # commits at the end, or takes all back on an error
            self._connection.execute("begin immediate")
            yield

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """Whoever cannot know whom to trust trusts nobody, and says so."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise SlapError(
                f"{self._path} cannot be read or written: {error}.",
                "It says which keys of caches are trusted; without it none is.",
                "Mend it, or move it away and trust the keys again: slapos cache trust.",
            ) from error
