"""A real master on each database, served over HTTP from a thread of this process."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from slap.master.database.engine import database_url, migrate
from tests.contract.master.world import World, serving
from tests.system.postgresql import PostgreSql, running_postgresql


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSql]:
    with running_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without anything in it, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "master.sqlite"
    migrate(database_url(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def empty_postgresql(postgresql: PostgreSql) -> str:
    url = postgresql.new_database()
    migrate(database_url(url))
    return urlsplit(url).path.removeprefix("/")


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh, migrated database of either kind."""
    makers: dict[str, Callable[[], str]] = {
        "sqlite": lambda: copied(request.getfixturevalue("empty_sqlite"), tmp_path),
        "postgresql": lambda: request.getfixturevalue("postgresql").new_database(
            request.getfixturevalue("empty_postgresql")
        ),
    }
    return makers[request.param]()


@pytest.fixture
def world(fresh_database: str, tmp_path: Path) -> Iterator[World]:
    """A running master with a user, and hands to furnish it."""
    with serving(fresh_database) as address:
        yield World(address, fresh_database, tmp_path)


def copied(empty: Path, folder: Path) -> str:
    path = folder / "master.sqlite"
    shutil.copy(empty, path)
    return f"sqlite:///{path}"
