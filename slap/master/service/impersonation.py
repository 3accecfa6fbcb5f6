"""Standing in: protocols in which one caller speaks for a computer, or for a partition, that is named in the call.

Nobody gets more rights by it: a user may have a token of each computer that is theirs, and a computer has the tokens of
all its partitions. A neighbour, a program that runs as a partition's Unix user beside the master, stands for that one.
"""

from sqlalchemy import Connection, bindparam, select

from slap.master.access.auth import Caller, CallerKind
from slap.master.computer import find
from slap.master.database.store import Store
from slap.master.database.tables import AnyRow, instance, is_living, partition
from slap.model.errors import Conflict, Forbidden, NotFound

_INSIDE = (
    select(instance.c.guid, instance.c.owner, instance.c.root)
    .join_from(partition, instance, instance.c.guid == partition.c.instance)
    .where(partition.c.computer == bindparam("on"), partition.c.name == bindparam("name"), is_living)
)
_SPOKEN_OF = select(
    instance.c.guid,
    instance.c.owner,
    instance.c.root,
    instance.c.host,
    instance.c.computer,
    instance.c.partition,
    instance.c.reported,
    instance.c.reported_revision,
    instance.c.message,
    instance.c.promises,
    instance.c.connection,
).where(instance.c.guid == bindparam("guid"))


async def as_computer(store: Store, caller: Caller, guid: str) -> Caller:
    """The caller as this computer; raises NotFound for one that the caller may not see."""
    return await store.read(lambda connection: _computer(connection, caller, guid))


async def as_partition(store: Store, caller: Caller, computer: str, name: str) -> Caller:
    """The caller as the instance in a partition; raises NotFound when the partition is free."""
    return await store.read(lambda connection: _partition(connection, caller, computer, name))


def speaking_of(connection: Connection, caller: Caller, guid: str) -> AnyRow:
    """An instance of which the caller may say something: its owner, its computer, itself, or the one that serves it."""
    row = connection.execute(_SPOKEN_OF, {"guid": guid}).first()
    if row and caller.subject in _speakers(caller.kind, row):
        return row
    raise no_instance(guid)


def as_instance(connection: Connection, caller: Caller, guid: str) -> Caller:
    """The caller as an instance of which it may say something."""
    row = speaking_of(connection, caller, guid)
    return Caller(CallerKind.PARTITION, row.guid, row.owner, row.root)


def as_itself(connection: Connection, caller: Caller, guid: str) -> Caller:
    """The same, for what only an instance with a partition of its own may have: who serves one is not let into its tree."""
    row = speaking_of(connection, caller, guid)
    if row.host is not None:
        raise Conflict(f"{guid} is a shared instance.", "It has no partition that could use a certificate.")
    return Caller(CallerKind.PARTITION, row.guid, row.owner, row.root)


def no_instance(guid: str) -> NotFound:
    return NotFound(f"There is no instance {guid}.", "", "List the instances that there are: slapos service list.")


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


def _speakers(kind: CallerKind, row: AnyRow) -> tuple[str | None, ...]:
    speakers = {
        CallerKind.USER: (row.owner,),
        CallerKind.COMPUTER: (row.computer,),
        CallerKind.PARTITION: (row.guid, row.host),
    }
    return speakers[kind]
