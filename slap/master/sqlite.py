"""SQLite: short reads on the event loop's own connection, and one thread that writes in groups.

A read of a few rows costs less than handing it to a thread. All pending writes share one commit, and so one fsync: each
in a savepoint of its own, so that one that fails takes no other with it. An order is answered after the commit
(synchronous=FULL), so neither a killed process nor a power cut loses it.
"""

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from sqlite3 import Connection as Driver
from typing import Any, cast

from sqlalchemy import URL, Connection, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from slap.master.database import unavailable
from slap.master.store import Reading, Result, Store, Transaction, Writing

log = logging.getLogger(__name__)

# More than this in one commit would make the first of them wait for long.
_LARGEST_GROUP = 64
_READERS = 4


@dataclass
class _Work:
    """A job on its way through the writing thread, and what came of it."""

    job: Writing[Any]
    answer: "asyncio.Future[Any]"
    topics: set[str] = field(default_factory=set)
    result: Any = None
    error: Exception | None = None


class SqliteStore(Store):
    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._engine = create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            poolclass=QueuePool,
            connect_args={"check_same_thread": False},
            pool_size=_READERS + 2,
        )
        event.listen(self._engine, "connect", _prepare)
        self._loop = asyncio.get_running_loop()
        self._reader = self._engine.connect()
        self._writer = self._engine.connect()
        self._readers = ThreadPoolExecutor(_READERS, "reader")
        self._committer = ThreadPoolExecutor(1, "committer")
        self._pending: list[_Work] = []
        self._is_busy = False

    async def read(self, job: Reading[Result]) -> Result:
        try:
            return job(self._reader)
        except DBAPIError as error:
            raise unavailable(error) from error

    async def read_much(self, job: Reading[Result]) -> Result:
        return await self._loop.run_in_executor(self._readers, self._read_aside, job)

    async def write(self, job: Writing[Result]) -> Result:
        answer: asyncio.Future[Result] = self._loop.create_future()
        self._pending.append(_Work(job, answer))
        if not self._is_busy:
            self._is_busy = True
            self._loop.call_soon(self._start)
        return await answer

    def _start(self) -> None:
        group, self._pending = self._pending[:_LARGEST_GROUP], self._pending[_LARGEST_GROUP:]
        driver = cast(Driver, self._writer.connection.dbapi_connection)
        try:
            driver.execute("BEGIN IMMEDIATE")
            for work in group:
                _attempt(self._writer, driver, work)
        except (DBAPIError, sqlite3.Error) as error:
            _abandon(driver, group, error)
        self._loop.run_in_executor(self._committer, driver.execute, "COMMIT").add_done_callback(
            lambda f: self._done(f, driver, group)
        )

    def _done(self, future, driver, group):
        if future.exception():
            _abandon(driver, group, future.exception())
        self._deliver(group)
        if self._pending:
            self._loop.call_soon(self._start)
        else:
            self._is_busy = False

    def close(self) -> None:
        self._readers.shutdown()
        self._reader.close()
        self._engine.dispose()

    def _read_aside(self, job: Reading[Result]) -> Result:
        try:
            with self._engine.connect() as connection:
                return job(connection)
        except DBAPIError as error:
            raise unavailable(error) from error

    def _deliver(self, group: list[_Work]) -> None:
        for work in group:
            self.hub.wake(work.topics)
            if work.answer.done():  # its client went away
                continue
            if work.error:
                work.answer.set_exception(work.error)
            else:
                work.answer.set_result(work.result)


def _prepare(driver: Driver, record: object) -> None:
    driver.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA busy_timeout=5000;"
        "PRAGMA cache_size=-32768; PRAGMA wal_autocheckpoint=4000; PRAGMA journal_size_limit=67108864;"
    )


def _commit(connection: Connection, group: list[_Work]) -> None:
    """Run a group of jobs in one transaction. What breaks the transaction is the failure of all of them."""
    driver = cast(Driver, connection.connection.dbapi_connection)
    try:
        driver.execute("BEGIN IMMEDIATE")
        for work in group:
            _attempt(connection, driver, work)
        driver.execute("COMMIT")
    except (DBAPIError, sqlite3.Error) as error:
        log.warning("A transaction of %d jobs failed: %s", len(group), error)
        _abandon(driver, group, error)


def _attempt(connection: Connection, driver: Driver, work: _Work) -> None:
    """Run one job in a savepoint; raises what concerns the whole transaction."""
    transaction = Transaction(connection)
    driver.execute("SAVEPOINT job")
    try:
        work.result = work.job(transaction)
    except OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the job was ordered
        work.error = error
        driver.execute("ROLLBACK TO job")
    driver.execute("RELEASE job")
    work.topics = transaction.topics if work.error is None else set()


def _abandon(driver: Driver, group: list[_Work], error: Exception) -> None:
    if driver.in_transaction:
        driver.rollback()
    for work in group:
        work.error = work.error or unavailable(error)
        work.topics = set()
