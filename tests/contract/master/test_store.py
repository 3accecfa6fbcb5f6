"""The databases under load and in trouble: what fails alone fails alone, and what cannot be written is said."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert, select

import slap.master
from slap.master.app import open_store
from slap.master.database.engine import database_url, migrate
from slap.master.database.sqlite import SqliteStore
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import metadata, release, release_schema, setting
from slap.model.errors import Conflict, Unreachable

pytestmark = pytest.mark.sql


def _with_store(database: str, work: Callable[[Store], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        store = open_store(database)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _put(name: str, words: str = "") -> Callable[[Transaction], str]:
    def job(transaction: Transaction) -> str:
        transaction.connection.execute(insert(setting), {"name": name, "value": words})
        if name == "bad":
            raise Conflict("bad")
        return name

    return job


async def _names(store: Store) -> list[str]:
    """What was put, without what migrations note."""
    own = ("incarnation", "version")
    query = select(setting.c.name).where(setting.c.name.not_in(own)).order_by(setting.c.name)
    return await store.read(lambda connection: list(connection.execute(query).scalars()))


def test_migrations_make_the_tables_that_the_code_knows(fresh_database: str) -> None:
    migrate(database_url(fresh_database))
    with create_engine(database_url(fresh_database)).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_job_that_fails_takes_no_other_with_it(fresh_database: str) -> None:
    async def work(store: Store) -> tuple[list[object], list[str]]:
        jobs = [store.write(_put(name)) for name in ("a", "bad", "b")]
        return await asyncio.gather(*jobs, return_exceptions=True), await _names(store)

    (first, failed, last), names = _with_store(fresh_database, work)
    assert (first, last, names) == ("a", "b", ["a", "b"])
    assert isinstance(failed, Conflict)


@pytest.fixture
def sqlite(empty_sqlite: Path, tmp_path: Path) -> Path:
    path = tmp_path / "master.sqlite"
    path.write_bytes(empty_sqlite.read_bytes())
    return path


def test_a_full_disk_is_said_and_nothing_of_the_transaction_stays(sqlite: Path) -> None:
    async def work(store: Store) -> tuple[list[str | BaseException], str, list[str]]:
        assert isinstance(store, SqliteStore)
        store._driver.execute("PRAGMA max_page_count=1")  # as large as it is now: the disk is full
        jobs = [store.write(_put(name, "x" * size)) for name, size in (("small", 1), ("large", 1_000_000))]
        failed = await asyncio.gather(*jobs, return_exceptions=True)
        store._driver.execute("PRAGMA max_page_count=100000")
        return failed, await store.write(_put("later")), await _names(store)

    failed, later, names = _with_store(f"sqlite:///{sqlite}", work)
    assert all(isinstance(each, Unreachable) and "full" in each.details for each in failed)
    assert (later, names) == ("later", ["later"])


def test_a_write_waits_for_another_process_while_reads_go_on(sqlite: Path) -> None:
    async def work(store: Store) -> tuple[bool, list[str], str]:
        other = sqlite3.connect(sqlite, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(store.write(_put("a")))
        await asyncio.sleep(0.2)
        while_it_waits = waiting.done(), await _names(store)
        other.execute("COMMIT")
        return *while_it_waits, await waiting

    assert _with_store(f"sqlite:///{sqlite}", work) == (False, [], "a")


def test_schemas_of_a_former_version_are_taken_out_of_their_releases(tmp_path: Path) -> None:
    url = database_url(f"sqlite:///{tmp_path}/m.sqlite")
    types = {"a": {"parameters_schema": {"title": "in"}, "connection_schema": {}}, "b": {"connection_schema": {"x": 1}}}
    with create_engine(url).connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(slap.master.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        connection.execute(
            insert(release), {"url": "/r.cfg", "document": json.dumps({"url": "/r.cfg", "types": types})}
        )
        connection.commit()
    migrate(url)
    with create_engine(url).connect() as connection:
        document = json.loads(connection.execute(select(release.c.document)).scalar_one())
        schemas = {tuple(row) for row in connection.execute(select(release_schema)).all()}
    assert document["types"] == {"a": {}, "b": {}}
    assert schemas == {("/r.cfg", "a", "parameters", '{"title":"in"}'), ("/r.cfg", "b", "connection", '{"x":1}')}
