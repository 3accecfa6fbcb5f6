"""Standing in: protocols in which one caller speaks for a computer, or for a partition, that is named in the call.

Nobody gets more rights by it: a user may have a token of each computer that is theirs, and a computer has the tokens of
all its partitions. A neighbour, a program that runs as a partition's Unix user beside the master, stands for that one.
"""

from sqlalchemy import Connection, bindparam, select

from slap.master.access.auth import Caller, CallerKind
from slap.master.computer import find
from slap.master.database.store import Store
from slap.master.database.tables import instance, is_living, partition
from slap.model.errors import Forbidden, NotFound

_INSIDE = (
    select(instance.c.guid, instance.c.owner, instance.c.root)
    .join_from(partition, instance, instance.c.guid == partition.c.instance)
    .where(partition.c.computer == bindparam("on"), partition.c.name == bindparam("name"), is_living)
)


async def as_computer(store: Store, caller: Caller, guid: str) -> Caller:
    """The caller as this computer; raises NotFound for one that the caller may not see."""
    return await store.read(lambda connection: _computer(connection, caller, guid))


async def as_partition(store: Store, caller: Caller, computer: str, name: str) -> Caller:
    """The caller as the instance in a partition; raises NotFound when the partition is free."""
    return await store.read(lambda connection: _partition(connection, caller, computer, name))


def _computer(connection: Connection, caller: Caller, guid: str) -> Caller:
    row = find(connection, caller, guid)
    return Caller(CallerKind.COMPUTER, row.guid, row.owner, credential=caller.credential)


def _partition(connection: Connection, caller: Caller, computer: str, name: str) -> Caller:
    if caller.kind in (CallerKind.USER, CallerKind.COMPUTER):
        # By its guid: the title of a computer may be the guid of somebody else's.
        computer = find(connection, caller, computer).guid
    row = connection.execute(_INSIDE, {"on": computer, "name": name}).first()
    inside = row and Caller(CallerKind.PARTITION, row.guid, row.owner, row.root, credential=caller.credential)
    if caller.kind is CallerKind.PARTITION:
        if caller != inside:
            raise Forbidden(
                f"This caller is not the instance in {name} of {computer}.", "A partition sees only itself."
            )
        return caller
    if caller.kind is CallerKind.NEIGHBOUR:
        _check_neighbour(caller, name)
    if inside is None:
        raise NotFound(f"There is nothing in partition {name} of {computer}.")
    if caller.kind is CallerKind.NEIGHBOUR and inside.owner != caller.owner:
        raise Forbidden(f"{computer} is not a computer of {caller.owner}.", "This caller is a program on this machine.")
    return inside


def _check_neighbour(caller: Caller, name: str) -> None:
    if caller.subject != name:
        raise Forbidden(f"This caller is not the Unix user of {name}.", f"It is that of {caller.subject}.")
