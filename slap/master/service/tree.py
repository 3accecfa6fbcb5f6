"""Instance trees: reading and following them."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import Connection, RowMapping, bindparam, func, select

from slap.master.access.auth import Caller, CallerKind
from slap.master.database.hub import answer_topic, tree_topic
from slap.master.database.incarnation import current_incarnation
from slap.master.database.pages import BATCH_BYTES, PagedDocument, paged, spliced
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, history, instance, is_living, partition, supply
from slap.master.database.text import from_json
from slap.master.placement.cascade import bang_tree
from slap.master.service.history import entries
from slap.model.errors import NotFound
from slap.model.instance import Answer, HistoryEntry, Instance, InstanceTree

_root = instance.alias("root_row")

_VIEW = select(
    instance,
    _root.c.tree_revision.label("root_revision"),
    partition.c.addresses,
    supply.c.reported.label("software"),
    supply.c.message.label("software_message"),
).select_from(
    instance.join(_root, _root.c.guid == instance.c.root)
    .outerjoin(partition, partition.c.instance == func.coalesce(instance.c.host, instance.c.guid))
    .outerjoin(supply, (supply.c.computer == instance.c.computer) & (supply.c.url == instance.c.release))
)
_ONE = _VIEW.where(instance.c.guid == bindparam("guid"))
_SOME = _VIEW.where(instance.c.guid.in_(bindparam("guids", expanding=True)))
_SIZE = (
    func.length(instance.c.parameters)
    + func.length(instance.c.connection)
    + func.length(instance.c.promises)
    + func.length(instance.c.message)
).label("size")
_IN_TREE = (instance.c.root == bindparam("root"), is_living)
_IN_TREE_ORDER = (instance.c.depth, instance.c.created_at, instance.c.guid)
_TREE = _VIEW.where(*_IN_TREE).order_by(*_IN_TREE_ORDER)
_TREE_SIZES = select(instance.c.guid, _SIZE).where(*_IN_TREE).order_by(*_IN_TREE_ORDER)
_LIVING = _VIEW.where(
    instance.c.requester == bindparam("requester"),
    instance.c.reference == bindparam("reference"),
    is_living,
)
_REQUESTED = (instance.c.requester == bindparam("requester"), is_living)
_ALL = _VIEW.where(*_REQUESTED).order_by(instance.c.reference)
_SIZES = select(instance.c.guid, _SIZE).where(*_REQUESTED).order_by(instance.c.reference)
# A row is counted with what it has besides texts of users.
_TOTAL_SIZE = select(func.sum(_SIZE + 500)).where(*_REQUESTED)
_INSTANCES = TypeAdapter(list[Instance])
_NAMES = (
    select(instance.c.guid, instance.c.reference, instance.c.release).where(*_REQUESTED).order_by(instance.c.reference)
)
_REVISION = select(instance.c.tree_revision, instance.c.owner, current_incarnation().label("incarnation")).where(
    instance.c.guid == bindparam("root"), instance.c.root == instance.c.guid
)


class InstanceName(NamedTuple):
    """An instance without anything that may be large."""

    guid: str
    reference: str
    software_release: str


async def names(store: Store, caller: Caller) -> list[InstanceName]:
    """What the caller requested itself, by name."""
    caller.must_be(CallerKind.USER, CallerKind.PARTITION)
    rows = await store.read_much(lambda connection: connection.execute(_NAMES, {"requester": caller.requester}).all())
    return [InstanceName(*row) for row in rows]


async def paged_listing(store: Store, caller: Caller, others: Sequence[Instance] = ()) -> PagedDocument:
    """The same as `listing` of all, as JSON; at its end other instances."""
    caller.must_be(CallerKind.USER, CallerKind.PARTITION)
    which: dict[str, object] = {"requester": caller.requester}

    def job(connection: Connection) -> PagedDocument:
        if (connection.execute(_TOTAL_SIZE, which).scalar() or 0) <= BATCH_BYTES:  # as nearly all are
            found = [render_row(row) for row in connection.execute(_ALL, which).all()]
            return PagedDocument(b"", b"", [], [_INSTANCES.dump_json([*found, *others])], _documents)
        tail = b"".join(b"," + _document(each) for each in others) + b"]"
        return PagedDocument(b"[", tail, *paged(connection, _SIZES, which, _documents), _documents)

    return await store.read_much(job)


async def listing(store: Store, caller: Caller, reference: str) -> list[Instance]:
    """What the caller requested itself: the roots of a user, the children of a partition."""
    caller.must_be(CallerKind.USER, CallerKind.PARTITION)
    if reference:
        row = await store.read(lambda connection: living(connection, caller.requester, reference))
        return [render_row(row)] if row else []
    return await store.read_much(
        lambda connection: [render_row(row) for row in connection.execute(_ALL, {"requester": caller.requester}).all()]
    )


async def show(store: Store, caller: Caller, guid: str) -> Instance:
    return render_row(await store.read(lambda connection: visible(connection, caller, guid)))


async def history_of(store: Store, caller: Caller, guid: str) -> list[HistoryEntry]:
    """What was requested of an instance, oldest first."""

    def job(connection: Connection) -> list[HistoryEntry]:
        visible(connection, caller, guid)
        rows = connection.execute(select(history).where(history.c.instance == guid).order_by(history.c.number))
        return entries(rows.all())

    return await store.read_much(job)


async def follow(
    store: Store, caller: Caller, root: str, since: int, wait: float, incarnation: str | None = None
) -> PagedDocument:
    """A tree as JSON, when its revision is not the one that the caller knows. Raises NothingNew (see Hub.poll).

    Who names no `incarnation` is of an earlier version, and is told of none.
    """

    async def read() -> tuple[bool, str]:
        row = await store.read(lambda connection: _revision(connection, caller, root))
        is_known = row.tree_revision == since and incarnation in (None, row.incarnation)
        return not is_known, str(row.incarnation)

    now = await store.hub.poll(tree_topic(root), wait, read)
    return await store.read_much(partial(_paged_tree, root=root, incarnation="" if incarnation is None else now))


async def whole_tree(store: Store, caller: Caller, root: str) -> InstanceTree:
    """A tree as it is now."""

    def job(connection: Connection) -> InstanceTree:
        _revision(connection, caller, root)
        return _tree(connection, root)

    return await store.read_much(job)


async def answer(store: Store, caller: Caller, guid: str, wait: float) -> Answer:
    """What a child of the calling partition published, once it published anything. Raises NothingNew (see Hub.poll)."""
    caller.must_be(CallerKind.PARTITION)

    def job(connection: Connection) -> Answer:
        row = visible(connection, caller, guid)
        if row.requester != caller.requester:
            raise _no_instance(guid)
        count = select(instance.c.children).where(instance.c.guid == caller.subject)
        return Answer(child=render_row(row), children=connection.execute(count).scalar_one())

    async def read() -> tuple[bool, Answer]:
        found = await store.read(job)
        return bool(found.child.connection), found

    return await store.hub.poll(answer_topic(guid), wait, read)


async def bang(store: Store, caller: Caller, guid: str) -> None:
    """Have all partitions of the tree of an instance processed again."""

    def job(transaction: Transaction) -> None:
        bang_tree(transaction, visible(transaction.connection, caller, guid).root)

    await store.write(job)


def living(connection: Connection, requester: str, reference: str) -> AnyRow | None:
    """The instance of this name, unless it was never there or is gone."""
    return connection.execute(_LIVING, {"requester": requester, "reference": reference}).first()


def view(connection: Connection, guid: str) -> Instance:
    return render_row(connection.execute(_ONE, {"guid": guid}).one())


def visible(connection: Connection, caller: Caller, guid: str) -> AnyRow:
    """An instance that the caller may see; to all others it does not exist."""
    row = connection.execute(_ONE, {"guid": guid}).first()
    if row and caller.may_see_tree(row.root, row.owner):
        return row
    raise _no_instance(guid)


def render_row(row: AnyRow) -> Instance:
    return render(row._mapping)


def render(row: RowMapping | dict[str, Any]) -> Instance:
    return Instance(
        guid=row["guid"],
        reference=row["reference"],
        requester=row["requester"],
        root=row["root"],
        software_release=row["release"],
        software_type=row["type"],
        parameters=from_json(row["parameters"]),
        sla=from_json(row["sla"]),
        shared=row["host"] is not None,
        host=row["host"] or "",
        serves=row["serving"],
        serialisation=row["serialisation"],
        requested=row["requested"],
        reported=row["reported"],
        is_current=row["reported_revision"] >= row["revision"],
        message=row["message"],
        promises=from_json(row["promises"]),
        connection=from_json(row["connection"]),
        published=row["published"],
        computer=row["computer"],
        partition=row["partition"],
        addresses=from_json(row["addresses"]) if row["addresses"] else (),
        software=row["software"] or "",
        software_message=row["software_message"] or "",
        revision=row["root_revision"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )


def _revision(connection: Connection, caller: Caller, root: str) -> AnyRow:
    row = connection.execute(_REVISION, {"root": root}).first()
    if row and caller.may_see_tree(root, row.owner):
        return row
    raise _no_instance(root)


def _tree(connection: Connection, root: str) -> InstanceTree:
    rows = connection.execute(_TREE, {"root": root}).all()
    # A tree of which nothing is left is shown by its root, so that who waits for the end sees it.
    instances = tuple(render_row(row) for row in rows) or (view(connection, root),)
    top = instances[0] if instances[0].guid == root else view(connection, root)
    return InstanceTree(root=top, instances=instances, revision=top.revision)


def _paged_tree(connection: Connection, root: str, incarnation: str) -> PagedDocument:
    # The root is read first: what changes meanwhile has a later revision.
    top = view(connection, root)
    batches, first = paged(connection, _TREE_SIZES, {"root": root}, _documents)
    tree = InstanceTree(root=top, instances=(), revision=top.revision, incarnation=incarnation)
    head, tail = spliced(tree.__pydantic_serializer__.to_json(tree), "instances")
    return PagedDocument(head, tail, batches, first or [_document(top)], _documents)


def _documents(connection: Connection, guids: Sequence[str]) -> list[bytes]:
    rows = {row.guid: row for row in connection.execute(_SOME, {"guids": guids})}
    return [_document(render_row(rows[guid])) for guid in guids if guid in rows]


def _document(known: Instance) -> bytes:
    return known.__pydantic_serializer__.to_json(known)


def _no_instance(guid: str) -> NotFound:
    return NotFound(f"There is no instance {guid}.", "", "List the instances that there are: slapos service list.")


def instances_on(connection: Connection, guid: str) -> Sequence[AnyRow]:
    """The instances in the partitions of a computer, with what a status is made of."""
    return connection.execute(_ON_COMPUTER, {"computer": guid}).all()


_ON_COMPUTER = select(
    instance.c.guid,
    instance.c.partition,
    instance.c.requested,
    instance.c.reported,
    instance.c.revision,
    instance.c.reported_revision,
    instance.c.message,
    instance.c.changed_at,
).where(instance.c.computer == bindparam("computer"), instance.c.host.is_(None), is_living)
