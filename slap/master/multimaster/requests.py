"""Orders and what came of them, whichever master placed them: what /api/v1 and the façades ask for instances.

With no other masters configured, nothing is added to what the services of this master do.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, bindparam, select, text

from slap.master.access.auth import Caller, CallerKind
from slap.master.database.pages import PagedDocument
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, forwarded
from slap.master.database.text import from_json, now, to_json
from slap.master.multimaster.config import OtherMaster
from slap.master.multimaster.forward import MASTER_FILTER, Placed, forward, master_for
from slap.master.schema.validation import SchemaChecks
from slap.master.service import instance, tree
from slap.master.service.tree import InstanceName
from slap.model.errors import NotFound
from slap.model.instance import Answer, HistoryEntry, Instance, InstanceRequest, InstanceTree
from slap.model.state import InstanceState, ReportedInstanceState
from slap.model.values import STORED
from slap.system.transport import HttpTransport, Tls, Transport

# Seconds between two looks at another master, for somebody who waits.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0


class Orders:
    """The instances of callers, here and at other masters. `transport` makes a connection to one of those."""

    def __init__(
        self,
        store: Store,
        checks: SchemaChecks,
        others: tuple[OtherMaster, ...],
        transport: Callable[[OtherMaster], Transport],
    ) -> None:
        self._store = store
        self._checks = checks
        self._others = others
        self._transport = transport

    async def request(self, caller: Caller, order: InstanceRequest) -> Instance:
        """Have an instance as ordered, at the master that is to place it. One that is here already stays here."""
        if self._others or MASTER_FILTER in order.sla.labels:
            caller.must_be(CallerKind.USER, CallerKind.PARTITION)
            row = await self._store.read(lambda connection: _named(connection, caller, order.reference))
            other = self._master_of(row) if row else await self._master_for(caller, order)
            if other:
                order = _repeated(row, order) if row and order.state is InstanceState.DESTROYED else order
                return await self._forward(caller, order, other)
        return await instance.request(self._store, self._checks, caller, order)

    async def listing(self, caller: Caller, reference: str) -> list[Instance]:
        """What the caller requested itself, here and elsewhere."""
        found = await tree.listing(self._store, caller, reference)
        return [*found, *await self._listing_elsewhere(caller, reference)]

    async def _listing_elsewhere(self, caller: Caller, reference: str) -> list[Instance]:
        if not self._others:
            return []
        rows = await self._store.read_much(lambda connection: connection.execute(_ALL, _whose(caller)).all())
        elsewhere = (_render(row) for row in rows if reference in ("", row.reference))
        return [each for each in elsewhere if each.requested is not InstanceState.DESTROYED]

    async def paged_listing(self, caller: Caller) -> PagedDocument:
        """The same of all as JSON, of which only a part is in memory; what is elsewhere comes last."""
        return await tree.paged_listing(self._store, caller, await self._listing_elsewhere(caller, ""))

    async def names(self, caller: Caller) -> list[InstanceName]:
        """What the caller requested itself, here and elsewhere, by name."""
        elsewhere = await self._listing_elsewhere(caller, "")
        here = await tree.names(self._store, caller)
        return [*here, *(InstanceName(each.guid, each.reference, each.software_release) for each in elsewhere)]

    async def show(self, caller: Caller, guid: str) -> Instance:
        return await self.placed_elsewhere(caller, guid) or await tree.show(self._store, caller, guid)

    async def placed_elsewhere(self, caller: Caller, guid: str) -> Instance | None:
        """What another master placed for the caller, as it is there now."""
        row = await self._elsewhere(caller, guid)
        return await self._look(caller, row) if row else None

    async def follow(
        self, caller: Caller, root: str, since: int, wait: float, incarnation: str | None = None
    ) -> InstanceTree | PagedDocument:
        """A tree when there is news of it. An instance elsewhere is a tree of its own."""
        row = await self._elsewhere(caller, root)
        if row is None:
            return await tree.follow(self._store, caller, root, since, wait, incarnation)
        found = await self._look_until(caller, row, lambda seen: seen.revision != since, wait)
        return InstanceTree(root=found, instances=(found,), revision=found.revision)

    async def tree(self, caller: Caller, root: str) -> InstanceTree:
        """A tree as it is now."""
        row = await self._elsewhere(caller, root)
        if row is None:
            return await tree.whole_tree(self._store, caller, root)
        found = await self._look(caller, row)
        return InstanceTree(root=found, instances=(found,), revision=found.revision)

    async def history(self, caller: Caller, guid: str) -> list[HistoryEntry]:
        """What was requested; of an instance elsewhere only the last request is kept."""
        row = await self._elsewhere(caller, guid)
        if row is None:
            return await tree.history_of(self._store, caller, guid)
        order = InstanceRequest.model_validate_json(row.request, context=STORED)
        return [HistoryEntry(number=1, at=row.changed_at, by=row.requester, request=order)]

    async def answer(self, caller: Caller, guid: str, wait: float) -> Answer:
        row = await self._elsewhere(caller, guid)
        if row is None:
            return await tree.answer(self._store, caller, guid, wait)
        found = await self._look_until(caller, row, lambda seen: bool(seen.connection), wait)
        return Answer(child=found, children=0)

    async def _master_for(self, caller: Caller, order: InstanceRequest) -> OtherMaster | None:
        """None when this master is to place the order, or did so before."""
        other = master_for(order, self._others)
        is_here = other and await tree.listing(self._store, caller, order.reference)
        return None if is_here else other

    def _master_of(self, row: AnyRow) -> OtherMaster:
        for other in self._others:
            if other.url == row.master_url:
                return other
        raise NotFound(
            f"{row.reference} is at the master {row.master_url}, which this master does not know any more.",
            "",
            f"Add the section [multimaster/{row.master_url}] to its configuration again.",
        )

    async def _elsewhere(self, caller: Caller, guid: str) -> AnyRow | None:
        if not self._others:
            return None
        row = await self._store.read(lambda connection: connection.execute(_BY_GUID, {"guid": guid}).first())
        return row if row and row.requester == caller.requester else None

    async def _look_until(
        self, caller: Caller, row: AnyRow, is_enough: Callable[[Instance], bool], wait: float
    ) -> Instance:
        end, pause = asyncio.get_running_loop().time() + wait, _SHORTEST_PAUSE
        while True:
            found = await self._look(caller, row)
            left = end - asyncio.get_running_loop().time()
            if is_enough(found) or left <= 0:
                return found
            await asyncio.sleep(min(left, pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _look(self, caller: Caller, row: AnyRow) -> Instance:
        """Requesting the same again is how the classic protocol tells what became of it."""
        order = InstanceRequest.model_validate_json(row.request, context=STORED)
        if order.state is InstanceState.DESTROYED:  # kept so that who waits for its end sees it
            return _render(row)
        return await self._forward(caller, order, self._master_of(row))

    async def _forward(self, caller: Caller, order: InstanceRequest, other: OtherMaster) -> Instance:
        transport = self._transport(other)
        placed = await asyncio.to_thread(forward, order, other, caller.requester, transport)
        row = await self._store.write(lambda transaction: _keep(transaction, caller, order, other, placed))
        return _render(row)


def connection_to(other: OtherMaster) -> Transport:
    """A connection to another master, with the certificate that is meant for it."""
    return HttpTransport(Tls(certificate=other.certificate, key=other.key))


def _keep(
    transaction: Transaction, caller: Caller, order: InstanceRequest, other: OtherMaster, placed: Placed | None
) -> AnyRow:
    """What is known now of an instance elsewhere. Its revision grows when that differs from what was known."""
    connection = transaction.connection
    before = _named(connection, caller, order.reference)
    if placed is None:
        placed = Placed(before.guid if before else "", "", "", (), {})
    values = {
        "requester": caller.requester,
        "reference": order.reference,
        "guid": placed.guid,
        "master_url": other.url,
        "request": to_json(order.model_dump()),
        "answer": to_json(_answer(placed)),
        "at": now(),
    }
    if before is None or any(str(values[name]) != getattr(before, name) for name in ("guid", "request", "answer")):
        connection.execute(_PUT, values)
    return connection.execute(_NAMED, {**_whose(caller), "reference": order.reference}).one()


def _answer(placed: Placed) -> dict[str, Any]:
    return {
        "computer": placed.computer,
        "partition": placed.partition,
        "addresses": list(placed.addresses),
        "connection": placed.connection,
    }


def _repeated(row: AnyRow, order: InstanceRequest) -> InstanceRequest:
    """Whoever destroys need not repeat what it was; the other master has to be told."""
    return InstanceRequest.model_validate_json(row.request, context=STORED).model_copy(update={"state": order.state})


def _render(row: AnyRow) -> Instance:
    order = InstanceRequest.model_validate_json(row.request, context=STORED)
    answer = from_json(row.answer)
    return Instance(
        **order.model_dump(exclude={"state"}),
        **answer,
        guid=row.guid,
        requester=row.requester,
        root=row.guid,
        requested=order.state,
        reported=_reported(order.state, bool(answer["connection"])),
        message=f"Placed by the master at {row.master_url}.",
        placed_by=row.master_url,
        revision=row.revision,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )


def _reported(requested: InstanceState, has_published: bool) -> ReportedInstanceState:
    """All that the other master says is what was requested, and what was published: only the latter was seen to be."""
    if requested is InstanceState.DESTROYED:
        return ReportedInstanceState.DESTROYED
    if requested is InstanceState.STARTED and has_published:
        return ReportedInstanceState.STARTED
    return ReportedInstanceState.NONE


def _whose(caller: Caller) -> dict[str, str]:
    return {"requester": caller.requester}


def _named(connection: Connection, caller: Caller, reference: str) -> AnyRow | None:
    return connection.execute(_NAMED, {**_whose(caller), "reference": reference}).first()


_ALL = select(forwarded).where(forwarded.c.requester == bindparam("requester")).order_by(forwarded.c.reference)
_NAMED = select(forwarded).where(
    forwarded.c.requester == bindparam("requester"), forwarded.c.reference == bindparam("reference")
)
_BY_GUID = select(forwarded).where(forwarded.c.guid == bindparam("guid"))
_PUT = text(
    "INSERT INTO forwarded (requester, reference, guid, master_url, request, answer, created_at, changed_at)"
    " VALUES (:requester, :reference, :guid, :master_url, :request, :answer, :at, :at)"
    " ON CONFLICT (requester, reference) DO UPDATE SET guid = excluded.guid, master_url = excluded.master_url,"
    " request = excluded.request, answer = excluded.answer, changed_at = excluded.changed_at,"
    " revision = forwarded.revision + 1"
)
