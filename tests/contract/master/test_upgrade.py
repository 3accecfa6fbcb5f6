"""A database of an earlier version becomes one of this version; one of a later version is left alone, in words."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

import slap.master.migrations
from slap.master.database.engine import database_url, migrate
from slap.master.service.accounts import create_user, credentials, revoke
from slap.model.errors import Conflict
from tests.system.postgresql import PostgreSql

pytestmark = pytest.mark.sql

EMPTY: dict[str, Callable[[Path, PostgreSql], str]] = {
    "sqlite": lambda folder, server: f"sqlite:///{folder / 'master.sqlite'}",
    "postgresql": lambda folder, server: server.new_database(),
}


def execute(words: str, *statements: str) -> list[str]:
    """Run statements; the values in the first column of the last one."""
    engine = create_engine(database_url(words))
    try:
        with engine.begin() as connection:
            *_, last = [connection.execute(text(each)) for each in statements]
            return [str(row[0]) for row in last.all()] if last.returns_rows else []
    finally:
        engine.dispose()


def upgrade_to(words: str, revision: str) -> None:
    engine = create_engine(database_url(words))
    config = Config()
    config.set_main_option("script_location", str(Path(str(slap.master.migrations.__path__[0]))))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


@pytest.mark.parametrize("kind", list(EMPTY))
def test_computers_of_an_earlier_version_get_an_incarnation(kind: str, tmp_path: Path, postgresql: PostgreSql) -> None:
    url = EMPTY[kind](tmp_path, postgresql)
    upgrade_to(url, "0006")
    execute(url, "INSERT INTO computer (guid, owner, title, revision) VALUES ('COMP-1', 'admin', 'one', 7)")
    migrate(database_url(url))
    (incarnation,) = execute(url, "SELECT incarnation FROM computer WHERE revision = 7")
    assert [incarnation] == execute(url, "SELECT value FROM setting WHERE name = 'incarnation'")
    assert len(incarnation) == 32
    migrate(database_url(url))
    assert [incarnation] == execute(url, "SELECT incarnation FROM computer")


@pytest.mark.parametrize("writer", ["9.8.7", ""])
@pytest.mark.parametrize("kind", list(EMPTY))
def test_a_database_of_a_later_version_names_it(kind: str, writer: str, tmp_path: Path, postgresql: PostgreSql) -> None:
    url = EMPTY[kind](tmp_path, postgresql)
    migrate(database_url(url))
    assert execute(url, "SELECT value FROM setting WHERE name = 'version'") == [version("slap")]
    execute(url, "UPDATE alembic_version SET version_num = '0999'")
    execute(url, f"UPDATE setting SET value = '{writer}' WHERE name = 'version'")
    with pytest.raises(Conflict) as raised:
        migrate(database_url(url))
    assert (f"slap {writer}" if writer else "a later version") in raised.value.brief
    assert "0999" in raised.value.details
    assert "backup.md" in raised.value.resolution
    assert execute(url, "SELECT version_num FROM alembic_version") == ["0999"]


@pytest.mark.parametrize("kind", EMPTY)
def test_one_time_tokens_of_an_earlier_version_end_with_a_token_of_their_user(
    kind: str, tmp_path: Path, postgresql: PostgreSql
) -> None:
    """Nothing says by which credential they were made. Those of other users are left alone."""
    words = EMPTY[kind](tmp_path, postgresql)
    create_user(words, "alice")
    row = "INSERT INTO registration (digest, owner, title, guid, created_at, expires_at) VALUES"
    execute(words, *(f"{row} ('{name}', '{name}', '', '', '1', '2')" for name in ("alice", "bob")))
    (credential,) = credentials(words)
    revoke(words, credential.id)
    assert execute(words, "SELECT digest FROM registration") == ["bob"]
