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
from queue import Empty, SimpleQueue
from sqlite3 import Connection as Driver
from threading import Thread
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
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=QueuePool, pool_size=_READERS + 2)
        event.listen(self._engine, "connect", _prepare)
        self._loop = asyncio.get_running_loop()
        self._reader = self._engine.connect()
        self._readers = ThreadPoolExecutor(_READERS, "reader")
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._writer = Thread(target=self._write_until_closed, name="writer", daemon=True)
        self._writer.start()

    async def read(self, job: Reading[Result]) -> Result:
        try:
            return job(self._reader)
        except DBAPIError as error:
            raise unavailable(error) from error

    async def read_much(self, job: Reading[Result]) -> Result:
        return await self._loop.run_in_executor(self._readers, self._read_aside, job)

    async def write(self, job: Writing[Result]) -> Result:
        answer: asyncio.Future[Result] = self._loop.create_future()
        self._queue.put(_Work(job, answer))
        return await answer

    def close(self) -> None:
        self._queue.put(None)
        self._writer.join()
        self._readers.shutdown()
        self._reader.close()
        self._engine.dispose()

    def _read_aside(self, job: Reading[Result]) -> Result:
        try:
            with self._engine.connect() as connection:
                return job(connection)
        except DBAPIError as error:
            raise unavailable(error) from error

    def _write_until_closed(self) -> None:
        with self._engine.connect() as connection:
            while group := self._next_group():
                _commit(connection, group)
                self._loop.call_soon_threadsafe(self._deliver, group)

    def _next_group(self) -> list[_Work]:
        """All that is pending, at least one; nothing at the end."""
        group = [self._queue.get()]
        try:
            while len(group) < _LARGEST_GROUP and group[-1]:
                group.append(self._queue.get_nowait())
        except Empty:
            pass
        if group[-1] is None:
            self._queue.put(None)
        return [work for work in group if work]

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
        "PRAGMA cache_size=-32768; PRAGMA journal_size_limit=67108864;"
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
