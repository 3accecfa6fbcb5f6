"""Reports of nodes: repeated, reordered, late. What says nothing new writes nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from slap.master.access.auth import Caller
from slap.master.computer import Attendance, bump
from slap.master.database.hub import answer_topic, log_topic, tree_topic
from slap.master.database.incarnation import revision_of
from slap.master.database.quota import Quota
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, computer, instance, is_living, log_request, partition, supply
from slap.master.database.text import from_json, now, to_json
from slap.master.placement.cascade import tell_parent, touch
from slap.master.service.shared import SharedNews, shared_news, store_shared
from slap.master.service.state import check_own, latest_revision
from slap.model.node import InstanceReport, NodeReport, SupplyReport
from slap.model.promise import PromiseResult
from slap.model.state import InstanceState, ReportedInstanceState

_INSTANCES = select(
    instance.c.guid,
    instance.c.owner,
    instance.c.reference,
    instance.c.root,
    instance.c.parent,
    instance.c.serving,
    instance.c.requested,
    instance.c.reported,
    instance.c.reported_revision,
    instance.c.message,
    instance.c.promises,
    instance.c.connection,
    computer.c.revision,
    computer.c.incarnation,
    computer.c.incarnation_start,
    computer.c.former_incarnation,
).where(
    computer.c.guid == instance.c.computer,
    instance.c.computer == bindparam("computer"),
    instance.c.guid.in_(bindparam("guids", expanding=True)),
    instance.c.host.is_(None),
)
_SUPPLIES = select(supply).where(
    supply.c.computer == bindparam("computer"), supply.c.url.in_(bindparam("urls", expanding=True))
)
# Databases take so many parameters in one statement, and no more.
_MOST_AT_ONCE = 500


@dataclass(frozen=True)
class _News:
    """What a report says that is not stored yet; `shared` follows from what is said of those that serve."""

    instances: tuple[tuple[AnyRow, InstanceReport], ...]
    shared: tuple[SharedNews, ...]
    supplies: tuple[SupplyReport, ...]

    def __bool__(self) -> bool:
        return bool(self.instances or self.shared or self.supplies)

    @property
    def roots(self) -> set[str]:
        """The trees that it concerns."""
        return {row.root for row, _ in self.instances} | {each.row.root for each in self.shared}


class ReportService:
    """Takes the reports of nodes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._attendance = Attendance(store)

    async def report(self, caller: Caller, guid: str, report: NodeReport) -> None:
        """Store what is new in a report, and wake those who wait for it."""
        check_own(caller, guid)
        self._attendance.mark(guid)
        news = await self._store.read(lambda connection: _news(connection, guid, report))
        if news or report.logs:
            await self._store.write(lambda transaction: _apply(transaction, guid, report))


def _apply(transaction: Transaction, guid: str, report: NodeReport) -> None:
    # Trees are locked before they are read, always in the same order.
    roots = _news(transaction.connection, guid, report).roots
    for root in sorted(roots):
        touch(transaction, root)
    news = _news(transaction.connection, guid, report)
    for row, each in news.instances:
        _store_instance(transaction, guid, row, each)
    # One that was ordered meanwhile is in no tree of these, and the node that reports did not know of it.
    store_shared(transaction, [each for each in news.shared if each.row.root in roots])
    for supplied in news.supplies:
        _store_supply(transaction, guid, supplied)
    for answer in report.logs:
        values = {"request": answer.id, "computer_guid": guid, "answer": answer.text}
        transaction.connection.execute(_ANSWER, values)
        transaction.wake(log_topic(answer.id))


_ANSWER = (
    update(log_request)
    .where(log_request.c.id == bindparam("request"), log_request.c.computer == bindparam("computer_guid"))
    .values(text=bindparam("answer"))
)


def _news(connection: Connection, guid: str, report: NodeReport) -> _News:
    reports = {each.guid: each for each in report.instances}
    found = _reported_rows(connection, guid, list(reports))
    latest = revision_of(found[0]) if found else latest_revision(connection, guid)
    # What a node did about a history of the database that is lost says nothing of this one.
    incarnation = report.incarnation or None
    rows = [
        row for row in found if latest.has(reports[row.guid].revision, incarnation) and _counts(row, reports[row.guid])
    ]
    hosts = {row.guid: (row.reference, reports[row.guid]) for row in rows if row.serving}
    return _News(
        tuple((row, reports[row.guid]) for row in rows if _is_news(row, reports[row.guid])),
        shared_news(connection, hosts) if hosts else (),
        _supply_news(connection, guid, [each for each in report.supplies if latest.has(each.revision, incarnation)]),
    )


def _reported_rows(connection: Connection, guid: str, guids: list[str]) -> list[AnyRow]:
    found: list[AnyRow] = []
    for start in range(0, len(guids), _MOST_AT_ONCE):
        some = {"computer": guid, "guids": guids[start : start + _MOST_AT_ONCE]}
        found += connection.execute(_INSTANCES, some).all()
    return sorted(found, key=lambda row: str(row.guid))


def _counts(row: AnyRow, report: InstanceReport) -> bool:
    """Whether a report may say anything of an instance."""
    if not ReportedInstanceState(row.reported).may_become(report.state) or row.reported == report.state == "destroyed":
        return False
    if report.state is ReportedInstanceState.DESTROYED:
        # Nobody asked for it: a node that lost an instance is told again that it shall have it.
        return bool(row.requested == InstanceState.DESTROYED)
    return bool(report.revision >= row.reported_revision)  # otherwise it was overtaken on its way


def _is_news(row: AnyRow, report: InstanceReport) -> bool:
    if report.state is ReportedInstanceState.DESTROYED:
        return True
    return (
        (row.reported, row.message, row.reported_revision) != (report.state, report.message, report.revision)
        or _verdicts(from_json(row.promises)) != _verdicts([each.model_dump() for each in report.promises])
        or (report.connection is not None and to_json(report.connection) != row.connection)
    )


def _verdicts(promises: list[dict[str, Any]]) -> list[tuple[str, bool, str]]:
    """What promises said; when they last ran is no news."""
    return sorted((each["name"], each["passed"], each["message"]) for each in promises)


def _supply_news(connection: Connection, guid: str, told: Iterable[SupplyReport]) -> tuple[SupplyReport, ...]:
    reports = {each.url: each for each in told}
    rows = connection.execute(_SUPPLIES, {"computer": guid, "urls": list(reports)}).all() if reports else ()
    pairs = [(row, reports[row.url]) for row in rows]
    return tuple(
        each
        for row, each in pairs
        if each.revision >= row.reported_revision
        and (row.reported, row.message, row.log, row.reported_revision)
        != (each.state, each.message, each.log, each.revision)
    )


def _store_instance(transaction: Transaction, guid: str, row: AnyRow, report: InstanceReport) -> None:
    changes = {
        "reported": report.state,
        "reported_revision": report.revision,
        "message": report.message,
        "promises": _promises(report.promises),
        "changed_at": now(),
    }
    is_connected_anew = report.connection is not None and to_json(report.connection) != row.connection
    if is_connected_anew:
        words = to_json(report.connection)
        changes["connection"] = words
        more = len(words) - len(row.connection)
        if more > 0:
            transaction.quotas.take(transaction.connection, Quota.BYTES, row.owner, more)
    transaction.connection.execute(update(instance).where(instance.c.guid == row.guid).values(**changes))
    if is_connected_anew and row.parent:
        tell_parent(transaction, row.parent)
        transaction.wake(answer_topic(row.guid))
    if report.state is ReportedInstanceState.DESTROYED:
        freed = update(partition).where(partition.c.instance == row.guid).values(instance=None)
        bump(transaction, guid, transaction.connection.execute(freed).rowcount)


def _promises(promises: tuple[PromiseResult, ...]) -> str:
    return to_json([each.model_dump() for each in promises])


def _store_supply(transaction: Transaction, guid: str, report: SupplyReport) -> None:
    changes = {
        "reported": report.state,
        "reported_revision": report.revision,
        "message": report.message,
        "log": report.log,
        "changed_at": now(),
    }
    transaction.connection.execute(
        update(supply).where(supply.c.computer == guid, supply.c.url == report.url).values(**changes)
    )
    users = select(instance.c.root).where(instance.c.computer == guid, instance.c.release == report.url, is_living)
    touched = update(instance).where(instance.c.guid.in_(users)).values(tree_revision=instance.c.tree_revision + 1)
    for root in transaction.connection.execute(touched.returning(instance.c.guid)).scalars().all():
        transaction.wake(tree_topic(root))
