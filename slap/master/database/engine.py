"""Which database: its URL, its migrations, and the words for when it fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from slap.model.errors import Conflict, InvalidInput, SlapError, Unreachable
from slap.system.files import exclusive

# The key of the advisory lock under which PostgreSQL is migrated: any number that nobody else uses.
_MIGRATION_LOCK = 0x51A9


def database_url(words: str) -> URL:
    """The URL of a database in SQLAlchemy's form; raises InvalidInput for one that is neither SQLite nor PostgreSQL."""
    try:
        url = make_url(words)
    except ArgumentError as error:
        raise _bad_url() from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return url
    raise _bad_url()


def is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def sqlite_file(url: URL) -> Path:
    return Path(str(url.database))


def migrate(url: URL) -> None:
    """Bring the tables to this version; several processes may try at once."""
    if is_sqlite(url):
        sqlite_file(url).touch(mode=0o600)
    engine = create_engine(url)
    try:
        with _alone(engine) as connection:
            _upgrade(connection)
    except DBAPIError as error:
        raise unavailable(error) from error
    finally:
        engine.dispose()


def unavailable(error: Exception) -> SlapError:
    """What people are told when the database cannot do its work: the driver's reason, never a statement."""
    return Unreachable(
        "The master's database cannot be used now; nothing was changed.",
        str(getattr(error, "orig", error)).strip(),
        "Free space on the database's disk, or check that the database runs; then try again.",
    )


def _bad_url() -> InvalidInput:
    return InvalidInput(
        "The master's database URL is not usable.",
        "It names neither an SQLite file nor a PostgreSQL database.",
        "Use sqlite:////FOLDER/master.sqlite or postgresql://USER@HOST/DATABASE.",
    )


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A connection while no other process migrates."""
    if is_sqlite(engine.url):
        with exclusive(Path(f"{engine.url.database}.migration")), engine.connect() as connection:
            yield connection
        return
    with engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        yield connection


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    revision, head = MigrationContext.configure(connection).get_current_revision(), scripts.get_current_head()
    if revision != head:
        if revision not in (None, *(each.revision for each in scripts.walk_revisions())):
            raise _written_by_a_later_version(connection, str(revision), str(head))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    if connection.execute(_VERSION).scalar() != version("slap"):  # for an earlier version that meets these tables
        connection.execute(_NOTE_VERSION, {"value": version("slap")})
    connection.commit()


_NOTE_VERSION = text(
    "INSERT INTO setting (name, value) VALUES ('version', :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_VERSION = text("SELECT value FROM setting WHERE name = 'version'")


def _written_by_a_later_version(connection: Connection, revision: str, head: str) -> Conflict:
    writer = connection.execute(_VERSION).scalar()
    return Conflict(
        f"The master's database was written by {f'slap {writer}' if writer else 'a later version'},"
        f" and this is slap {version('slap')}.",
        f"Its tables are of revision {revision}; this version knows those up to {head}.",
        f"Install {f'slap {writer}' if writer else 'that version'} again, or restore a backup that this version or an"
        " earlier one made: docs/howto/backup.md. What happened since that backup is lost.",
    )
