"""A real master on each database, served over HTTP from a thread of this process."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from slap.master.database.engine import database_url, migrate
from tests.contract.master.world import SharedServer, World
from tests.system.postgresql import PostgreSql, running_postgresql


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sql: what the databases do each in its own way, and is always tested on both")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave PostgreSQL out where the SQL is what SQLite runs too, unless all is asked for."""
    if config.getoption("all_databases"):
        return
    left_out = [item for item in items if _is_repeated(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _is_repeated(item: pytest.Item) -> bool:
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return parameters.get("kind_of_database") == "postgresql" and item.get_closest_marker("sql") is None


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
def kind_of_database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fresh_database(kind_of_database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh, migrated database of either kind."""
    makers: dict[str, Callable[[], str]] = {
        "sqlite": lambda: copied(request.getfixturevalue("empty_sqlite"), tmp_path),
        "postgresql": lambda: request.getfixturevalue("postgresql").new_database(
            request.getfixturevalue("empty_postgresql")
        ),
    }
    return makers[kind_of_database]()


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    yield from _shared(f"sqlite:///{tmp_path_factory.mktemp('shared')}/master.sqlite")


@pytest.fixture(scope="session")
def postgresql_server(postgresql: PostgreSql) -> Iterator[SharedServer]:
    yield from _shared(postgresql.url("shared"))


@pytest.fixture
def world(kind_of_database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A running master with a user, and hands to furnish it. Only its server is that of other tests too."""
    server: SharedServer = request.getfixturevalue(f"{kind_of_database}_server")
    if kind_of_database == "sqlite":
        folder = Path(server.database.removeprefix("sqlite:///")).parent
        shutil.rmtree(folder)
        folder.mkdir()
        copied(request.getfixturevalue("empty_sqlite"), folder)
    else:
        request.getfixturevalue("postgresql").renew("shared", request.getfixturevalue("empty_postgresql"))
    with server.master():
        yield World(server.address, server.database, tmp_path)


def copied(empty: Path, folder: Path) -> str:
    path = folder / "master.sqlite"
    shutil.copy(empty, path)
    return f"sqlite:///{path}"


def _shared(database: str) -> Iterator[SharedServer]:
    server = SharedServer(database)
    try:
        yield server
    finally:
        server.end()
