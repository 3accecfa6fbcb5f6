"""Orphans: instances that the partition which requested them does not request any more."""

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, select, update

from slap.master.access.auth import Caller, CallerKind
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, instance, is_living
from slap.master.database.text import now
from slap.master.placement.cascade import cascade, lock
from slap.master.service.history import record
from slap.master.service.instance import current
from slap.model.state import InstanceState


async def collect(store: Store, caller: Caller, requested: Collection[str]) -> list[str]:
    """Destroy what the calling partition requested before, and did not request in a run that went through.

    Returns the names of what is destroyed. `requested` are the names of all that it requested in that run.
    """
    caller.must_be(CallerKind.PARTITION)
    wanted = frozenset(requested)
    known = await store.read(lambda connection: connection.execute(_CHILDREN, {"by": caller.requester}).all())
    if not _orphans(known, wanted):
        return []
    return await store.write(lambda transaction: _collect(transaction, caller, wanted))


def _collect(transaction: Transaction, caller: Caller, wanted: frozenset[str]) -> list[str]:
    lock(transaction, caller.root)
    rows = _orphans(transaction.connection.execute(_CHILDREN, {"by": caller.requester}).all(), wanted)
    for row in rows:
        transaction.connection.execute(_UNWANTED, {"orphan": row.guid, "at": now()})
        destroyed = current(row).model_copy(update={"state": InstanceState.DESTROYED})
        record(transaction.connection, row.guid, caller.requester, destroyed)
    cascade(transaction, caller.root)
    return [row.reference for row in rows]


def _orphans(rows: Sequence[AnyRow], wanted: frozenset[str]) -> list[AnyRow]:
    return [row for row in rows if row.reference not in wanted and row.wanted != InstanceState.DESTROYED]


_CHILDREN = select(instance).where(instance.c.requester == bindparam("by"), is_living).order_by(instance.c.guid)
_UNWANTED = (
    update(instance)
    .where(instance.c.guid == bindparam("orphan"))
    .values(wanted=InstanceState.DESTROYED, changed_at=bindparam("at"))
)
