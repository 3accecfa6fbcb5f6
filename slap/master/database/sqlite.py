"""SQLite: all on the event loop but what waits for the disk.

A read or a write of a few rows costs less than handing it to a thread and quarrelling with it over the interpreter.
All writes that are pending share one commit, and so one fsync, which a thread waits for while the loop goes on; each is in
a savepoint of its own, so that one that fails takes no other with it. A write is answered after the commit
(synchronous=FULL): neither a killed process nor a power cut loses what was acknowledged.
"""

import asyncio
import logging
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import URL, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from slap.master.database.engine import unavailable
from slap.master.database.hub import REVOCATION
from slap.master.database.store import Reading, Result, Store, Transaction, Writing, values_are_judged

log = logging.getLogger(__name__)

# More than this in one commit would make the first of them wait for long.
_LARGEST_GROUP = 64
_READERS = 4
# KiB of the database that a connection keeps in memory. What readers keep is stale after each write of another connection,
# and what is not kept is read from the kernel's cache. Pages that are written stay until their commit, as far as they fit.
_WRITER_CACHE, _READER_CACHE = 8192, 2048
# Seconds that everybody may wait for one commit.
_QUICK = 0.001
# Milliseconds that a write waits for another process: somebody adds a user, or looks into the file.
_PATIENCE = 5000
# Seconds between two looks whether another process wrote to the database.
_LOOK_EVERY = 1.0


@dataclass
class _Work:
    """A job that is to be written, and what came of it."""

    job: Writing[Any]
    answer: "asyncio.Future[Any]"
    topics: set[str] = field(default_factory=set)
    result: Any = None
    error: Exception | None = None


class SqliteStore(Store):
    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=QueuePool, pool_size=_READERS + 2)
        event.listen(self._engine, "connect", _prepare)
        self._loop = asyncio.get_running_loop()
        self._reader = self._engine.connect()
        self._readers = ThreadPoolExecutor(_READERS, "reader")
        self._writer = self._engine.connect()
        self._driver = cast(sqlite3.Connection, self._writer.connection.dbapi_connection)
        self._driver.execute("PRAGMA busy_timeout=0")
        self._driver.execute(f"PRAGMA cache_size=-{_WRITER_CACHE}")
        self._disk = ThreadPoolExecutor(1, "disk")
        self._commit_took = _QUICK
        self._pending: list[_Work] = []
        self._writing: asyncio.Task[None] | None = None
        self._version = 0  # of what other processes wrote
        self._timer: asyncio.Handle = self._loop.call_soon(self._tick)

    async def read(self, job: Reading[Result]) -> Result:
        try:
            with values_are_judged():
                return job(self._reader)
        except DBAPIError as error:
            raise unavailable(error) from error

    async def read_much(self, job: Reading[Result]) -> Result:
        return await self._loop.run_in_executor(self._readers, self._read_aside, job)

    async def write(self, job: Writing[Result]) -> Result:
        answer: asyncio.Future[Result] = self._loop.create_future()
        self._pending.append(_Work(job, answer))
        if self._writing is None:
            self._writing = self._loop.create_task(self._write_pending())
        return await answer

    async def close(self) -> None:
        self._timer.cancel()
        if self._writing:
            await self._writing
        self._disk.shutdown()
        self._readers.shutdown()
        self._reader.close()
        self._writer.close()
        self._engine.dispose()

    def _tick(self) -> None:
        if self._writing is None:  # else each group of writes looks
            self._look_for_others()
        self._timer = self._loop.call_later(_LOOK_EVERY, self._tick)

    def _look_for_others(self) -> None:
        """Wake REVOCATION when another process wrote to the database: an operator may have revoked something."""
        (version,) = self._driver.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            self.hub.wake((REVOCATION,))

    def _read_aside(self, job: Reading[Result]) -> Result:
        try:
            with values_are_judged(), self._engine.connect() as connection:
                return job(connection)
        except DBAPIError as error:
            raise unavailable(error) from error

    async def _write_pending(self) -> None:
        while self._pending:
            group, self._pending = self._pending[:_LARGEST_GROUP], self._pending[_LARGEST_GROUP:]
            try:
                await self._write_group(group)
            except (DBAPIError, sqlite3.Error) as error:
                log.warning("A transaction of %d jobs failed: %s", len(group), error)
                self._abandon(group, error)
            self._deliver(group)
        self._writing = None

    async def _write_group(self, group: list[_Work]) -> None:
        """Run a group of jobs in one transaction; raises what is the failure of all of them."""
        self._look_for_others()
        try:
            self._driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            await self._loop.run_in_executor(self._disk, _begin_patiently, self._driver)
        for work in group:
            _attempt(Transaction(self._writer, self.quotas), self._driver, work)
        await self._commit(alone=len(group) == 1)

    async def _commit(self, alone: bool) -> None:
        """Commit aside, unless one order alone would pay more for the hand-over than a quick disk takes."""
        started = time.monotonic()
        if alone and self._commit_took < _QUICK:
            self._driver.execute("COMMIT")
        else:
            await self._loop.run_in_executor(self._disk, self._driver.execute, "COMMIT")
        self._commit_took = time.monotonic() - started

    def _abandon(self, group: list[_Work], error: Exception) -> None:
        if self._driver.in_transaction:
            self._driver.rollback()
        for work in group:
            work.error = work.error or unavailable(error)
            work.topics = set()

    def _deliver(self, group: list[_Work]) -> None:
        for work in group:
            self.hub.wake(work.topics)
            if work.answer.done():  # its client went away
                continue
            if work.error:
                work.answer.set_exception(work.error)
            else:
                work.answer.set_result(work.result)


def _prepare(driver: sqlite3.Connection, record: object) -> None:
    # The log of writes is folded into the database seldom: what is written again and again is then folded in once.
    driver.executescript(
        f"PRAGMA busy_timeout={_PATIENCE}; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
        f"PRAGMA cache_size=-{_READER_CACHE}; PRAGMA wal_autocheckpoint=4000; PRAGMA journal_size_limit=67108864;"
    )


def _begin_patiently(driver: sqlite3.Connection) -> None:
    """Begin when another process has the database, while the event loop goes on."""
    driver.execute(f"PRAGMA busy_timeout={_PATIENCE}")
    try:
        driver.execute("BEGIN IMMEDIATE")
    finally:
        driver.execute("PRAGMA busy_timeout=0")


def _attempt(transaction: Transaction, driver: sqlite3.Connection, work: _Work) -> None:
    """Run one job in a savepoint; raises what concerns the whole transaction."""
    driver.execute("SAVEPOINT job")
    try:
        with values_are_judged():
            work.result = work.job(transaction)
        work.topics = transaction.topics
    except OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the job was ordered
        work.error = error
        driver.execute("ROLLBACK TO job")
    driver.execute("RELEASE job")
