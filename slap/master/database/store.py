"""The database behind one small interface: jobs are functions that get a connection; services decide what is one job."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DataError, DBAPIError

from slap.master.database.hub import Hub
from slap.master.database.quota import Quotas
from slap.master.database.text import unstorable

Result = TypeVar("Result")


@dataclass
class Transaction:
    """One transaction: its connection, and the topics to wake once it is committed."""

    connection: Connection
    quotas: Quotas = field(default_factory=Quotas)
    topics: set[str] = field(default_factory=set)

    def wake(self, topic: str) -> None:
        self.topics.add(topic)


Reading = Callable[[Connection], Result]
Writing = Callable[[Transaction], Result]


# Classes of PostgreSQL's errors: wrong data, and more than its limits, such as the size of an entry of an index.
_FAULTS_OF_VALUES = ("22", "54")


@contextmanager
def values_are_judged() -> Iterator[None]:
    """The last line of defence: InvalidInput for a value that the database or its driver does not take.

    Models refuse such values before, in better words.
    """
    try:
        yield
    except (UnicodeEncodeError, OverflowError, DataError) as error:
        raise unstorable(error) from error
    except DBAPIError as error:
        if str(getattr(error.orig, "sqlstate", "")).startswith(_FAULTS_OF_VALUES):
            raise unstorable(error) from error
        raise


class Store(ABC):
    """Runs jobs, on behalf of one event loop.

    A job does nothing but talk to the database: it may be rolled back and run again when it met another one.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.hub = Hub()
        self.quotas = Quotas()

    @abstractmethod
    async def read(self, job: Reading[Result]) -> Result:
        """Run a job that reads a few rows."""

    @abstractmethod
    async def read_much(self, job: Reading[Result]) -> Result:
        """Run a job that may read thousands of rows, aside from the short ones."""

    @abstractmethod
    async def write(self, job: Writing[Result]) -> Result:
        """Run a job as one transaction; answers once it is durable, and after its topics were woken."""

    @abstractmethod
    async def close(self) -> None:
        """End all threads and connections."""
