"""The desired state of a computer: all of it, or what changed since a revision."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, select

from slap.master.access.auth import Caller, CallerKind, Guard, load_partition_secret, token_of_partition
from slap.master.computer import Attendance, no_computer
from slap.master.database.hub import computer_topic
from slap.master.database.incarnation import LATEST_REVISION, Revision, revision_of
from slap.master.database.pages import PagedDocument, paged, spliced
from slap.master.database.store import Store
from slap.master.database.tables import AnyRow, computer, instance, is_living, log_request, supply
from slap.master.database.text import from_json
from slap.model.errors import Forbidden
from slap.model.node import DesiredInstance, DesiredSharedInstance, DesiredState, DesiredSupply, LogRequest
from slap.model.resources.limits import NO_LIMITS, Limits
from slap.model.state import InstanceState, SupplyState

# Who asked for logs waits no longer than this.
LOGS_WITHIN = 20.0

_root = instance.alias("root_row")
_EPOCH = (
    select(computer.c.epoch)
    .join_from(instance, computer, computer.c.guid == instance.c.computer)
    .where(instance.c.guid == bindparam("guid"))
)
_WHICH = (
    instance.c.computer == bindparam("computer"),
    instance.c.revision > bindparam("since"),
    instance.c.host.is_(None),
    is_living,
)
_guest = instance.alias("guest")
_SHARED_SIZE = (
    select(func.sum(func.length(_guest.c.parameters))).where(_guest.c.host == instance.c.guid).scalar_subquery()
)
_SIZES = (
    select(
        instance.c.guid,
        (
            func.length(instance.c.parameters)
            + func.length(instance.c.sla)
            + case((instance.c.serving > 0, func.coalesce(_SHARED_SIZE, 0)), else_=0)
        ).label("size"),
    )
    .where(*_WHICH)
    .order_by(instance.c.partition)
)
_MANY = 5  # rows may have a MiB each, and what is read by `Store.read` keeps others waiting
# By the index alone.
_CHANGED = (
    select(instance.c.revision)
    .where(instance.c.computer == bindparam("computer"), instance.c.revision > bindparam("since"))
    .limit(_MANY)
)
_NAMES = (
    select(
        instance.c.guid,
        instance.c.partition,
        instance.c.reference,
        instance.c.release.label("software_release"),
        instance.c.requested.label("state"),
    )
    .where(*_WHICH)
    .order_by(instance.c.partition)
)
_INSTANCES = (
    select(
        instance.c.guid,
        instance.c.partition,
        instance.c.reference,
        instance.c.root,
        _root.c.reference.label("root_reference"),
        instance.c.release,
        instance.c.type,
        instance.c.parameters,
        instance.c.sla,
        instance.c.requested,
        instance.c.bang,
        instance.c.children,
        instance.c.serving,
        instance.c.revision,
    )
    .join_from(instance, _root, _root.c.guid == instance.c.root)
    .where(instance.c.guid.in_(bindparam("guids", expanding=True)), is_living)
    .order_by(instance.c.partition)
)
# Those that are to be destroyed are gone from here already: their host serves them no longer.
_SHARED = (
    select(
        instance.c.guid,
        instance.c.host,
        instance.c.reference,
        _root.c.reference.label("root_reference"),
        instance.c.type,
        instance.c.parameters,
        instance.c.requested,
        instance.c.revision,
    )
    .join_from(instance, _root, _root.c.guid == instance.c.root)
    .where(
        instance.c.host.in_(bindparam("hosts", expanding=True)),
        instance.c.requested != "destroyed",
        is_living,
    )
    .order_by(instance.c.guid)
)
# Databases take so many parameters in one statement, and no more.
_MOST_AT_ONCE = 500
_SUPPLIES = (
    select(supply.c.url, supply.c.requested, supply.c.reported, supply.c.revision)
    .where(supply.c.computer == bindparam("computer"), supply.c.revision > bindparam("since"))
    .order_by(supply.c.url)
)
_LOGS = select(log_request).where(
    log_request.c.computer == bindparam("computer"),
    log_request.c.revision > bindparam("since"),
    log_request.c.text.is_(None),
    log_request.c.created_at > bindparam("oldest"),
)


class StateService:
    """Answers the long polls of nodes."""

    def __init__(self, store: Store, guard: Guard) -> None:
        self._store = store
        self._guard = guard
        self._attendance = Attendance(store)

    async def desired_state(
        self, caller: Caller, guid: str, since: int, wait: float, incarnation: str | None = None
    ) -> DesiredState | PagedDocument:
        """What changed after `since`; all of it when that is not a revision of ours. Raises NothingNew (see Hub.poll).

        What changed is JSON, of which only a part is in memory.

        A node may know a revision that a master restored from a backup never gave, or gave to another change. Who names
        no `incarnation` is of an earlier version, and is told of none.
        """
        check_own(caller, guid)
        self._attendance.mark(guid)

        async def read() -> tuple[bool, Revision]:
            latest = await self._store.read(lambda connection: latest_revision(connection, guid))
            return _known(latest, since, incarnation) != latest.number, latest

        latest = await self._store.hub.poll(computer_topic(guid), wait, read)
        known = _known(latest, since, incarnation)
        if known == latest.number:
            named = "" if incarnation is None else latest.incarnation
            return DesiredState(computer=guid, revision=since, since=since, incarnation=named)
        await self._guard.secret()  # there is one from now on
        which = {"computer": guid, "since": known}
        is_short = known and await self._store.read(lambda c: len(c.execute(_CHANGED, which).all()) < _MANY)
        reader = self._store.read if is_short else self._store.read_much
        return await reader(lambda connection: _state(connection, guid, known, incarnation is not None))

    async def summary(self, caller: Caller, guid: str) -> tuple[DesiredState, Sequence[AnyRow]]:
        """All of the desired state but for its instances, and of each of those a row without what may be large."""
        check_own(caller, guid)
        self._attendance.mark(guid)
        which = {"computer": guid, "since": 0}

        def job(connection: Connection) -> tuple[DesiredState, Sequence[AnyRow]]:
            frame = _frame(connection, guid, 0)
            return frame, connection.execute(_NAMES, which).all()

        return await self._store.read_much(job)


def check_own(caller: Caller, guid: str) -> None:
    """Only a computer itself speaks for it."""
    caller.must_be(CallerKind.COMPUTER)
    if caller.subject != guid:
        raise Forbidden(
            f"This token is not that of {guid}.", "A computer sees only itself.", "Check the computer's id."
        )


def latest_revision(connection: Connection, guid: str) -> Revision:
    row = connection.execute(LATEST_REVISION, {"computer": guid}).first()
    if row is None:
        raise no_computer(connection, "", guid)
    return revision_of(row)


def _known(latest: Revision, since: int, incarnation: str | None) -> int:
    """Since when a node has to be told what changed: 0 when what it knows is of another history."""
    return since if latest.has(since, incarnation) else 0


def _state(connection: Connection, guid: str, since: int, is_named: bool) -> PagedDocument:
    # The revision is read first: what is committed meanwhile is sent twice rather than never.
    frame = _frame(connection, guid, since)
    frame = frame if is_named else frame.model_copy(update={"incarnation": ""})
    head, tail = spliced(frame.__pydantic_serializer__.to_json(frame), "instances")
    batches, first = paged(connection, _SIZES, {"computer": guid, "since": since}, _instances)
    return PagedDocument(head, tail, batches, first, _instances)


def _frame(connection: Connection, guid: str, since: int) -> DesiredState:
    """A state without its instances."""
    latest = latest_revision(connection, guid)
    which = {"computer": guid, "since": since}
    recent = (datetime.now(UTC) - timedelta(seconds=LOGS_WITHIN)).isoformat()
    return DesiredState(
        computer=guid,
        revision=latest.number,
        since=since,
        incarnation=latest.incarnation,
        supplies=tuple(_supplies(connection, which)),
        instances=(),
        logs=tuple(_log(row) for row in connection.execute(_LOGS, {**which, "oldest": recent}).all()),
    )


def _instances(connection: Connection, guids: Sequence[str]) -> list[bytes]:
    """The JSON of instances on one computer."""
    rows = connection.execute(_INSTANCES, {"guids": guids}).all()
    shared = _shared(connection, [row.guid for row in rows if row.serving])
    epoch = str(connection.execute(_EPOCH, {"guid": guids[0]}).scalar_one())
    # Read after the revision too: tokens by a former secret never come with the revision of its rotation.
    secret = load_partition_secret(connection).encode()
    found = (
        _instance(row, tuple(shared.get(row.guid, ())), token_of_partition(secret, row.guid, epoch)) for row in rows
    )
    return [each.__pydantic_serializer__.to_json(each) for each in found]


def _supplies(connection: Connection, which: dict[str, Any]) -> Iterator[DesiredSupply]:
    for row in connection.execute(_SUPPLIES, which).all():
        if (row.requested, row.reported) != ("destroyed", "destroyed"):
            yield DesiredSupply(url=row.url, state=SupplyState(row.requested), revision=row.revision)


def _shared(connection: Connection, hosts: list[str]) -> dict[str, list[DesiredSharedInstance]]:
    found: dict[str, list[DesiredSharedInstance]] = {}
    for start in range(0, len(hosts), _MOST_AT_ONCE):
        for row in connection.execute(_SHARED, {"hosts": hosts[start : start + _MOST_AT_ONCE]}).all():
            found.setdefault(row.host, []).append(_shared_instance(row))
    return found


def _shared_instance(row: AnyRow) -> DesiredSharedInstance:
    return DesiredSharedInstance.model_construct(
        guid=row.guid,
        reference=row.reference,
        root_reference=row.root_reference,
        software_type=row.type,
        parameters=from_json(row.parameters),
        state=InstanceState(row.requested),
        revision=row.revision,
    )


def _instance(row: AnyRow, shared: tuple[DesiredSharedInstance, ...], token: str) -> DesiredInstance:
    # Constructed without checks: it was checked when it was stored, and there may be thousands.
    return DesiredInstance.model_construct(
        guid=row.guid,
        partition=row.partition,
        reference=row.reference,
        root=row.root,
        root_reference=row.root_reference,
        software_release=row.release,
        software_type=row.type,
        parameters=from_json(row.parameters),
        state=InstanceState(row.requested),
        bang=row.bang,
        children=row.children,
        shared=shared,
        revision=row.revision,
        limits=_limits(row.sla),
        token=token,
    )


def _limits(sla: str) -> Limits:
    """Nearly all request none."""
    return Limits.model_validate(from_json(sla)["limits"]) if '"limits"' in sla else NO_LIMITS


def _log(row: AnyRow) -> LogRequest:
    return LogRequest(id=row.id, instance=row.instance, partition=row.partition, lines=row.lines)
