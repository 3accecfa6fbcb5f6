"""Shared instances: what is reported of the one that serves them says how they are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, bindparam, or_, select, update

from slap.master.access.auth import Caller, CallerKind
from slap.master.database.hub import answer_topic
from slap.master.database.quota import Quota
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, instance, is_living
from slap.master.database.text import now, to_json
from slap.master.placement.cascade import lock_shared, tell_parent
from slap.model.errors import NotFound
from slap.model.node import InstanceReport
from slap.model.serialisation import Serialisation
from slap.model.state import InstanceState, ReportedInstanceState
from slap.model.values import Parameters

# Databases take so many parameters in one statement, and no more.
_MOST_AT_ONCE = 500
_SHARED_OF = (
    select(
        instance.c.guid,
        instance.c.reference,
        instance.c.release,
        instance.c.type,
        instance.c.requested,
        instance.c.parameters,
        instance.c.serialisation,
        instance.c.partition,
    )
    .where(instance.c.host == bindparam("host"), is_living)
    .order_by(instance.c.guid)
)
_PUBLISHED = select(instance.c.published).where(
    instance.c.guid == bindparam("guid"),
    or_(instance.c.guid == bindparam("host"), instance.c.host == bindparam("host")),
)


class Served(Protocol):
    """What is known of a shared instance."""

    requested: str
    reported: str
    reported_revision: int
    revision: int


class Derived(NamedTuple):
    """How a shared instance is, and up to which of its changes that is true."""

    reported: ReportedInstanceState
    message: str
    reported_revision: int


def derive(served: Served, host: str, report: InstanceReport) -> Derived | None:
    """How a shared instance is, as its host reports of itself; None when that says nothing of it.

    It is started only once its host, told of it as it is requested now, is started with all of its promises.
    """
    if report.state is ReportedInstanceState.DESTROYED:
        return _after_destruction(served, host)
    if report.revision < served.revision:  # the host was not told of it yet
        return None
    requested = InstanceState(served.requested)
    if report.state is ReportedInstanceState.STARTED:
        return Derived(ReportedInstanceState(requested.value), "", report.revision)
    if report.state is ReportedInstanceState.ERROR:
        return Derived(ReportedInstanceState.ERROR, f"{host}, which serves it: {report.message}", report.revision)
    if report.state is ReportedInstanceState.STOPPED:
        return _under_stopped(requested, host, report.revision)
    is_done = served.reported == served.requested and served.reported_revision >= served.revision
    if is_done or requested is not InstanceState.STARTED:
        return None
    return Derived(ReportedInstanceState.INSTANTIATING, f"{host} is about to serve it.", report.revision)


def _after_destruction(served: Served, host: str) -> Derived:
    if served.requested == InstanceState.DESTROYED:
        return Derived(ReportedInstanceState.DESTROYED, "", served.revision)
    message = f"{host}, which served it, is destroyed. Request it again to have it served by another one."
    return Derived(ReportedInstanceState.ERROR, message, served.revision)


def _under_stopped(requested: InstanceState, host: str, revision: int) -> Derived:
    if requested is InstanceState.STARTED:
        return Derived(ReportedInstanceState.ERROR, f"{host}, which serves it, is stopped.", revision)
    return Derived(ReportedInstanceState(requested.value), "", revision)


class SharedNews(NamedTuple):
    """A shared instance, the columns of it that a report changes, and the report."""

    row: AnyRow
    changes: dict[str, Any]
    report: InstanceReport


def shared_news(connection: Connection, hosts: Mapping[str, tuple[str, InstanceReport]]) -> tuple[SharedNews, ...]:
    """What reports change of the shared instances of some hosts, each given by its guid with its name and report."""
    guids = sorted(hosts)
    found = []
    for start in range(0, len(guids), _MOST_AT_ONCE):
        some = {"hosts": guids[start : start + _MOST_AT_ONCE]}
        for row in connection.execute(_SERVED, some).all():
            name, report = hosts[row.host]
            changes = _changes(row, name, report)
            if changes:
                found.append(SharedNews(row, changes, report))
    return tuple(found)


def store_shared(transaction: Transaction, news: Sequence[SharedNews]) -> None:
    """Store what is new of shared instances; those who requested them are told what was published for them."""
    for row, changes, _ in news:
        values = {**changes, "changed_at": now()}
        more = len(changes.get("connection", "")) - len(row.connection)
        if more > 0:
            transaction.quotas.take(transaction.connection, Quota.BYTES, row.owner, more)
        transaction.connection.execute(update(instance).where(instance.c.guid == row.guid).values(**values))
        if row.parent and "connection" in changes:
            tell_parent(transaction, row.parent)
            transaction.wake(answer_topic(row.guid))
    _let_go(transaction, (each.row.host for each in news if each.changes.get("reported") == "destroyed"))


async def publish(store: Store, caller: Caller, guid: str, connection: Parameters) -> None:
    """Store what a host publishes for a shared instance; only the partition or the computer of its host may."""
    caller.must_be(CallerKind.PARTITION, CallerKind.COMPUTER)
    await store.write(lambda transaction: _publish(transaction, caller, guid, to_json(connection)))


def _publish(transaction: Transaction, caller: Caller, guid: str, words: str) -> None:
    row = transaction.connection.execute(_ONE, {"guid": guid}).first()
    if row is None or caller.subject not in (row.host, row.computer):
        raise NotFound(f"There is no shared instance {guid} that is served here.")
    lock_shared(transaction, row.root, row.host)
    row = transaction.connection.execute(_ONE, {"guid": guid}).one()
    if row.connection != words:
        store_shared(transaction, [SharedNews(row, {"connection": words}, _NO_REPORT)])


_NO_REPORT = InstanceReport(guid="", state=ReportedInstanceState.NONE)
_COLUMNS = select(
    instance.c.guid,
    instance.c.owner,
    instance.c.host,
    instance.c.root,
    instance.c.parent,
    instance.c.computer,
    instance.c.requested,
    instance.c.reported,
    instance.c.reported_revision,
    instance.c.revision,
    instance.c.message,
    instance.c.connection,
)
_SERVED = _COLUMNS.where(instance.c.host.in_(bindparam("hosts", expanding=True)), is_living).order_by(instance.c.guid)
_ONE = _COLUMNS.where(instance.c.guid == bindparam("guid"), instance.c.host.is_not(None))
_SERVES_LESS = update(instance).where(instance.c.guid == bindparam("member")).values(serving=instance.c.serving - 1)


async def remember_form(store: Store, host: Caller, guid: str, form: Serialisation) -> None:
    """The form in which an instance publishes, for itself or for a shared one that it serves."""
    which = {"guid": guid, "host": host.subject}
    known = await store.read(lambda connection: connection.execute(_PUBLISHED, which).scalar())
    if known is None:
        raise NotFound(f"{host.subject} serves no shared instance {guid}.")
    if known != form:
        change = update(instance).where(instance.c.guid == guid).values(published=form)
        await store.write(lambda transaction: transaction.connection.execute(change) and None)


def shared_instances(connection: Connection, host: str) -> Sequence[AnyRow]:
    """The shared instances that an instance serves."""
    return connection.execute(_SHARED_OF, {"host": host}).all()


def _changes(row: Any, host: str, report: InstanceReport) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    derived = derive(row, host, report)
    # That the host was looked at once more is no news of what it serves: with N of them that would be N writes.
    if derived and (derived[:2] != (row.reported, row.message) or row.reported_revision < row.revision):
        changes = derived._asdict()
    if report.state is ReportedInstanceState.DESTROYED and row.requested != InstanceState.DESTROYED:
        changes |= {"host": "", "connection": "{}"}
    elif report.shared and row.guid in report.shared and to_json(report.shared[row.guid]) != row.connection:
        changes["connection"] = to_json(report.shared[row.guid])
    return changes


def _let_go(transaction: Transaction, hosts: Iterable[str]) -> None:
    freed = [{"member": host} for host in sorted(hosts)]
    if freed:
        transaction.connection.execute(_SERVES_LESS, freed)
