"""PostgreSQL: pooled connections in threads, and news of other master processes by LISTEN and NOTIFY."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING

from sqlalchemy import URL, create_engine, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from slap.master.database.engine import unavailable
from slap.master.database.store import Reading, Result, Store, Transaction, Writing, values_are_judged
from slap.system.lazy_import import Later

if TYPE_CHECKING:
    import psycopg
else:
    psycopg = Later("psycopg")  # a master with SQLite has no use for it

log = logging.getLogger(__name__)

CHANNEL = "slap"
_CONNECTIONS = 12
_ATTEMPTS = 6
_SERIALISATION, _DEADLOCK = "40001", "40P01"


class PostgresStore(Store):
    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._engine = create_engine(url, pool_size=_CONNECTIONS, max_overflow=0, pool_recycle=3600)
        self._address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(_CONNECTIONS, "database")
        self._name = secrets.token_hex(4)  # by which our own notifications are known
        self._closed = Event()
        self._listener = Thread(target=self._listen_until_closed, name="listener", daemon=True)
        self._listener.start()

    async def read(self, job: Reading[Result]) -> Result:
        return await self._loop.run_in_executor(self._threads, _persist, lambda: self._read(job))

    async def read_much(self, job: Reading[Result]) -> Result:
        return await self.read(job)

    async def write(self, job: Writing[Result]) -> Result:
        result, topics = await self._loop.run_in_executor(self._threads, _persist, lambda: self._write(job))
        self.hub.wake(topics)
        return result

    async def close(self) -> None:
        self._closed.set()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        self._wake_listener()
        self._listener.join()
        self._engine.dispose()

    def _wake_listener(self) -> None:
        """Have it see at once that it is over, by news of our own, which is no news to it."""
        with suppress(DBAPIError), self._engine.begin() as connection:
            connection.execute(select(func.pg_notify(CHANNEL, self._name)))

    def _read(self, job: Reading[Result]) -> Result:
        with self._engine.connect() as connection:
            return job(connection)

    def _write(self, job: Writing[Result]) -> tuple[Result, set[str]]:
        with self._engine.begin() as connection:
            transaction = Transaction(connection, self.quotas)
            result = job(transaction)
            notify(transaction, self._name)
        return result, transaction.topics

    def _listen_until_closed(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen()
            except psycopg.OperationalError as error:
                log.warning("No news from the database: %s", error)
                self._closed.wait(1)

    def _listen(self) -> None:
        """Follow the news of other processes. What was missed while nobody listened is made good by waking everybody."""
        with psycopg.connect(self._address, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self._tell(self.hub.wake_all)
            while not self._closed.is_set():
                for news in connection.notifies(timeout=0.5, stop_after=1):
                    sender, *topics = news.payload.split(" ")
                    if sender != self._name:
                        self._tell(partial(self.hub.wake, topics))

    def _tell(self, call: Callable[[], None]) -> None:
        if not self._closed.is_set():
            self._loop.call_soon_threadsafe(call)


def notify(transaction: Transaction, sender: str) -> None:
    """Have every process of the master hear of the topics of a transaction once it is committed."""
    if transaction.topics:
        news = " ".join((sender, *sorted(transaction.topics)))
        transaction.connection.execute(select(func.pg_notify(CHANNEL, news)))


def _persist(job: Callable[[], Result], attempts: int = _ATTEMPTS) -> Result:
    """Run a job again when it met another one, or when its connection was lost."""
    try:
        with values_are_judged():
            return job()
    except IntegrityError:
        raise  # the job itself is at fault, which its service knows best
    except DBAPIError as error:
        if attempts > 1 and _is_passing(error):
            return _persist(job, attempts - 1)
        raise unavailable(error) from error


def _is_passing(error: DBAPIError) -> bool:
    return error.connection_invalidated or getattr(error.orig, "sqlstate", "") in (_SERIALISATION, _DEADLOCK)
