"""Taking over from SlapOS's slapproxy: its database becomes one of ours, and a copy of it is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, insert, text

from slap.master.database import tables
from slap.master.database.engine import migrate
from slap.master.takeover.convert import Rows, rows_of
from slap.master.takeover.slapproxy_database import is_former, read_former
from slap.system import files


def take_over(database: Path, owner: str) -> Path | None:
    """Make a slapproxy database ours; the path of the copy that is kept, or None when there was nothing to take over.

    Everything is made aside and put in place by one rename: whatever breaks off leaves the former database as it was.
    Raises InvalidInput when that cannot be understood.
    """
    if not database.exists() or not is_former(database):
        return None
    rows = rows_of(read_former(database), owner)
    copy = _free_name(database.with_name(f"{database.name}.slapos-copy"))
    fresh = database.with_name(f"{database.name}.new")
    _remove(fresh)
    _fill(fresh, rows)
    _copy(database, copy)
    files.put_in_place(fresh, database)
    _remove(fresh)
    return copy


def _fill(file: Path, rows: Rows) -> None:
    url = URL.create("sqlite", database=str(file))
    migrate(url)
    with _transaction(url) as connection:
        for table, found in (
            (tables.computer, rows.computers),
            (tables.configuration, rows.configurations),
            (tables.release, rows.releases),
            (tables.supply, rows.supplies),
            (tables.instance, rows.instances),
            (tables.partition, rows.partitions),
            (tables.history, rows.history),
        ):
            if found:
                connection.execute(insert(table), found)


@contextmanager
def _transaction(url: URL) -> Iterator[Connection]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
        with engine.connect() as connection:  # nothing is left in files beside it
            connection.execute(text("PRAGMA journal_mode = DELETE"))
    finally:
        engine.dispose()


def _copy(database: Path, copy: Path) -> None:
    files.write(copy, database.read_bytes(), 0o600)


def _free_name(path: Path) -> Path:
    names = (path if number == 1 else path.with_name(f"{path.name}-{number}") for number in range(1, 1000))
    return next(name for name in names if not name.exists())


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal", ".migration"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
