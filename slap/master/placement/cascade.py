"""What goes through all of an instance tree: states, bangs, names; and from shared instances to those that serve them."""

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, select, update

from slap.master.computer import bump
from slap.master.database.hub import tree_topic
from slap.master.database.store import Transaction
from slap.master.database.tables import AnyRow, instance, is_living
from slap.master.database.text import now
from slap.model.state import InstanceState


def touch(transaction: Transaction, root: str) -> int:
    """The next revision of a tree. Its root's row stays locked, so changes of one tree follow each other."""
    transaction.wake(tree_topic(root))
    return int(transaction.connection.execute(_TOUCH, {"tree": root}).scalar_one())


def lock(transaction: Transaction, root: str, *hosts: str) -> None:
    """Touch a tree, and all those in which its shared instances are served, or are going to be by `hosts`."""
    present = transaction.connection.execute(_ROOTS_OF_HOSTS, {"root": root}).scalars().all()
    lock_shared(transaction, root, *hosts, roots=present)


def lock_shared(transaction: Transaction, root: str, *hosts: str, roots: Iterable[str] = ()) -> None:
    """The same for one shared instance: its tree if it has one already, and those of the instances that serve it.

    They are always locked in the same order, so that nobody waits in a circle.
    """
    found = transaction.connection.execute(_ROOTS_OF, {"hosts": hosts}).scalars().all()
    for each in sorted({root, *roots, *found} - {""}):
        touch(transaction, each)


def members(transaction: Transaction, root: str) -> Sequence[AnyRow]:
    """The living instances of a tree, parents before children."""
    return transaction.connection.execute(_MEMBERS, {"root": root}).all()


def cascade(transaction: Transaction, root: str) -> None:
    """Make what is requested of each instance of a tree follow from what is wanted of it and of all above it."""
    effective: dict[str | None, InstanceState] = {}
    changed = []
    for row in members(transaction, root):
        state = weaker(effective.get(row.parent, InstanceState.STARTED), InstanceState(row.wanted))
        effective[row.guid] = state
        if state != row.requested:
            changed.append((row, state))
    for row, state in changed:
        is_gone = row.host == "" and state is InstanceState.DESTROYED  # nobody is left who could report it
        values = {"member": row.guid, "state": state, "at": now(), "seen": "destroyed" if is_gone else row.reported}
        transaction.connection.execute(_REQUESTED, values)
    stamp(transaction, [row for row, _ in changed])


def stamp(transaction: Transaction, rows: Iterable[AnyRow]) -> None:
    """Have the nodes told of rows that changed, and those that serve shared ones of them processed again."""
    places = {guid: row.computer for row in rows for guid in (row.guid, row.host) if guid}
    revisions = {name: bump(transaction, name) for name in sorted(set(places.values()))}
    if places:
        stamps = [{"member": guid, "at": revisions[place]} for guid, place in sorted(places.items())]
        transaction.connection.execute(_STAMP, stamps)


def bang_tree(transaction: Transaction, root: str) -> None:
    """Have each partition in which something of a tree is processed once more."""
    lock(transaction, root)
    rows = members(transaction, root)
    stamp(transaction, rows)
    partitions = {row.guid if row.host is None else row.host for row in rows} - {""}
    transaction.connection.execute(_BANG, [{"member": guid} for guid in sorted(partitions)])


def tell_host(transaction: Transaction, host: str, computer: str, more: int = 0) -> int:
    """Have an instance processed again because of a shared one that changed, or because it serves one `more` or less."""
    revision = bump(transaction, computer)
    root = transaction.connection.execute(_TELL, {"member": host, "at": revision, "more": more}).scalar()
    if root:
        touch(transaction, root)
    return revision


def tell_parent(transaction: Transaction, parent: str) -> None:
    """What a child published is an input of its parent, which is processed again."""
    where = transaction.connection.execute(_COMPUTER, {"parent": parent}).scalar_one()
    transaction.connection.execute(_TELL_PARENT, {"member": parent, "at": bump(transaction, where)})


def weaker(above: InstanceState, own: InstanceState) -> InstanceState:
    """Nothing is more alive than what it is a part of."""
    order = (InstanceState.STARTED, InstanceState.STOPPED, InstanceState.DESTROYED)
    return max(above, own, key=order.index)


_host = instance.alias("host_row")
_ROOTS_OF_HOSTS = (
    select(_host.c.root)
    .join_from(instance, _host, _host.c.guid == instance.c.host)
    .where(instance.c.root == bindparam("root"), is_living)
    .distinct()
)
_ROOTS_OF = select(instance.c.root).where(instance.c.guid.in_(bindparam("hosts", expanding=True)))
_MEMBERS = (
    select(
        instance.c.guid,
        instance.c.parent,
        instance.c.computer,
        instance.c.host,
        instance.c.wanted,
        instance.c.requested,
        instance.c.reported,
    )
    .where(instance.c.root == bindparam("root"), is_living)
    .order_by(instance.c.depth)
)
_TOUCH = (
    update(instance)
    .where(instance.c.guid == bindparam("tree"))
    .values(tree_revision=instance.c.tree_revision + 1)
    .returning(instance.c.tree_revision)
)
_STAMP = update(instance).where(instance.c.guid == bindparam("member")).values(revision=bindparam("at"))
_BANG = update(instance).where(instance.c.guid == bindparam("member")).values(bang=instance.c.bang + 1)
_REQUESTED = (
    update(instance)
    .where(instance.c.guid == bindparam("member"))
    .values(requested=bindparam("state"), reported=bindparam("seen"), changed_at=bindparam("at"))
)
_TELL = (
    update(instance)
    .where(instance.c.guid == bindparam("member"), is_living)
    .values(revision=bindparam("at"), serving=instance.c.serving + bindparam("more"))
    .returning(instance.c.root)
)
_COMPUTER = select(instance.c.computer).where(instance.c.guid == bindparam("parent"))
_TELL_PARENT = (
    update(instance)
    .where(instance.c.guid == bindparam("member"))
    .values(children=instance.c.children + 1, revision=bindparam("at"))
)
