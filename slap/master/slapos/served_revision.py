"""Which revision the node of a computer was last told over an old protocol: its reports do not say what they are about.

In the database, because a node may tell another process, or the same one started anew, what it did with what it was
told here.
"""

from collections import OrderedDict

from sqlalchemy import Connection, bindparam, select, text

from slap.master.database.store import Store, Transaction
from slap.master.database.tables import computer, setting

_MOST_REMEMBERED = 10_000
_KEEP = text(
    "INSERT INTO setting (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_SERVED = select(setting.c.value).where(setting.c.name == bindparam("name"))
_LATEST = select(computer.c.revision).where(computer.c.guid == bindparam("guid"))


class Served:
    """Remembers per computer the revision that was last served; one for each application, as `app.state.served`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Only what this process wrote itself: it saves writing the same again, and is never read for an answer.
        self._written: OrderedDict[str, int] = OrderedDict()

    async def note(self, computer: str, revision: int) -> None:
        """This revision was served to the node of this computer. Repeating it writes nothing."""
        if self._written.get(computer) == revision:
            return
        row = {"name": _name(computer), "value": str(revision)}
        await self._store.write(lambda transaction: _keep(transaction, row))
        self._written[computer] = revision
        self._written.move_to_end(computer)
        if len(self._written) > _MOST_REMEMBERED:
            self._written.popitem(last=False)

    async def revision(self, computer: str) -> int:
        """What a report of this computer is about: what was last served, or what is when nothing ever was."""
        return await self._store.read(lambda connection: _revision(connection, computer))

    async def latest(self, computer: str) -> int:
        """What is now, to be noted once it was served; read it before what is served."""
        return await self._store.read(lambda connection: _latest(connection, computer))


def _name(guid: str) -> str:
    return f"served:{guid}"


def _keep(transaction: Transaction, row: dict[str, str]) -> None:
    transaction.connection.execute(_KEEP, row)


def _revision(connection: Connection, guid: str) -> int:
    served = connection.execute(_SERVED, {"name": _name(guid)}).scalar()
    return int(served) if served is not None else _latest(connection, guid)


def _latest(connection: Connection, guid: str) -> int:
    return int(connection.execute(_LATEST, {"guid": guid}).scalar() or 0)
