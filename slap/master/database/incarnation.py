"""Which history of the database a revision belongs to: restored from a backup, it gives the same revisions once more.

The incarnation changes when a master starts, and with PostgreSQL also when the server starts, or the tables were made
anew by a restore. A computer's row has the incarnation of its latest revision, the first revision of that incarnation,
and the incarnation before. So a revision that was given after the backup, and lost, is told from one of the same number
that was given after the restore; and a master that only starts again costs nobody a whole state.
"""

import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Text, bindparam, case, create_engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from slap.master.database.engine import unavailable
from slap.master.database.tables import AnyRow, computer

SETTING = "incarnation"
_RENEW = text(f"UPDATE setting SET value = :value WHERE name = '{SETTING}'")


class current_incarnation(FunctionElement[str]):  # noqa: N801 (named as functions of SQL are)
    """The incarnation that a revision belongs to which is given now."""

    type = Text()
    inherit_cache = True


@compiles(current_incarnation, "sqlite")
def _in_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"(SELECT value FROM setting WHERE name = '{SETTING}')"


@compiles(current_incarnation, "postgresql")
def _in_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return (
        "(SELECT md5(value || extract(epoch FROM pg_postmaster_start_time())::text || 'computer'::regclass::oid::text)"
        f" FROM setting WHERE name = '{SETTING}')"
    )


_is_same = computer.c.incarnation == current_incarnation()

# The columns of a computer's row whose revision grows by one.
NEXT_REVISION = {
    "revision": computer.c.revision + 1,
    "former_incarnation": case((_is_same, computer.c.former_incarnation), else_=computer.c.incarnation),
    "incarnation_start": case((_is_same, computer.c.incarnation_start), else_=computer.c.revision + 1),
    "incarnation": current_incarnation(),
}


@dataclass(frozen=True)
class Revision:
    """The latest revision of a computer, in the history that the database has now."""

    number: int
    incarnation: str
    start: int  # the first revision of the incarnation
    former: str  # the incarnation before it

    def has(self, number: int, incarnation: str | None) -> bool:
        """Whether this history has a revision that a node names; without an incarnation, whether it may have it.

        A node that names an incarnation of longer ago is not believed.
        """
        if incarnation is None or incarnation == self.incarnation:
            return number <= self.number
        return incarnation == self.former and number < self.start


LATEST_REVISION = select(
    computer.c.revision, computer.c.incarnation, computer.c.incarnation_start, computer.c.former_incarnation
).where(computer.c.guid == bindparam("computer"))


def revision_of(row: AnyRow) -> Revision:
    """The revision in a row of LATEST_REVISION."""
    return Revision(row.revision, row.incarnation, row.incarnation_start, row.former_incarnation)


def new_incarnation() -> str:
    return secrets.token_hex(16)


def begin_incarnation(url: URL) -> None:
    """A master starts: what is stored now may be an older state of the database than it had before."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(_RENEW, {"value": new_incarnation()})
    except DBAPIError as error:
        raise unavailable(error) from error
    finally:
        engine.dispose()
