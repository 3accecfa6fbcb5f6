"""Names: an instance keeps all that it is, and is called otherwise from then on."""

from sqlalchemy import bindparam, update
from sqlalchemy.exc import IntegrityError

from slap.master.access.auth import Caller, CallerKind
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, instance
from slap.master.database.text import now
from slap.master.placement.cascade import lock, members, stamp
from slap.master.service.history import record
from slap.master.service.instance import current, is_being_destroyed
from slap.master.service.tree import view, visible
from slap.model.errors import Conflict, Forbidden
from slap.model.instance import Instance, Renaming


async def rename(store: Store, caller: Caller, guid: str, to: Renaming) -> Instance:
    """Give an instance another name: users any of theirs, a partition itself and what it requested."""
    caller.must_be(CallerKind.USER, CallerKind.PARTITION)
    try:
        return await store.write(lambda transaction: _rename(transaction, caller, guid, to.name))
    except IntegrityError:
        raise Conflict(
            f"There is an instance {to.name} already.",
            "Whoever requests an instance calls each of them differently.",
            "Use another name, or rename the other one first.",
        ) from None


def _rename(transaction: Transaction, caller: Caller, guid: str, name: str) -> Instance:
    row = visible(transaction.connection, caller, guid)
    if caller.kind is CallerKind.PARTITION and caller.subject not in (row.guid, row.requester):
        raise Forbidden(f"{row.reference} is not yours to rename.", "A partition renames itself and its children.")
    if row.reference != name:
        _store(transaction, caller, row, name)
    return view(transaction.connection, guid)


def _store(transaction: Transaction, caller: Caller, row: AnyRow, name: str) -> None:
    lock(transaction, row.root)
    row = visible(transaction.connection, caller, row.guid)
    if "destroyed" in (row.requested, row.reported):
        raise is_being_destroyed(row.reference)
    transaction.connection.execute(_NAME, {"named": row.guid, "name": name, "at": now()})
    record(transaction.connection, row.guid, caller.requester, current(row).model_copy(update={"reference": name}))
    # All of a tree know the name of its root.
    stamp(transaction, members(transaction, row.root) if row.guid == row.root else [row])


_NAME = (
    update(instance)
    .where(instance.c.guid == bindparam("named"))
    .values(reference=bindparam("name"), changed_at=bindparam("at"))
)
