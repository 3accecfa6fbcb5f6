"""Instances: requested, changed, planned."""

import secrets
import time
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from slap.master.access.auth import Caller, CallerKind
from slap.master.computer import bump
from slap.master.database.quota import Quota
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, instance
from slap.master.database.text import from_json, now, to_json
from slap.master.placement.cascade import cascade, lock, lock_shared, touch, weaker
from slap.master.placement.place import candidates_of, check_computer, occupied_by, place, placements_of
from slap.master.placement.rank import sla_refusals
from slap.master.placement.shared_host import HostGone, choose, hand_over, hosts_for, keep_or_choose, take_on
from slap.master.schema.parameters import KnownRelease, check_parameters, with_effects
from slap.master.schema.validation import SchemaChecks
from slap.master.service.history import differences, record, record_first
from slap.master.service.supply import is_supplied, usable_release
from slap.master.service.tree import living, render, render_row, view
from slap.model.errors import Conflict, InvalidInput, NotFound
from slap.model.instance import FieldChange, Instance, InstanceRequest, Plan
from slap.model.software import normalise_release_url
from slap.model.state import InstanceState
from slap.model.values import STORED

_ATTEMPTS = 6


@dataclass(frozen=True)
class _Place:
    """Where in a tree a new instance goes."""

    guid: str
    root: str
    parent: str | None
    depth: int
    requested: InstanceState
    tree_revision: int


async def request(store: Store, checks: SchemaChecks, caller: Caller, order: InstanceRequest) -> Instance:
    """Have an instance as ordered. The same order again finds it so, and writes nothing."""
    order = _normalised(caller, order)
    for _ in range(_ATTEMPTS):
        try:
            return await _request(store, checks, caller, order)
        except (IntegrityError, HostGone):
            continue  # somebody else ordered the same, or took away what was found, at the same moment: now it is known
    raise Conflict(f"{order.reference} is being requested by others at this moment.", "", "Repeat the request.")


async def _request(store: Store, checks: SchemaChecks, caller: Caller, order: InstanceRequest) -> Instance:
    known, is_changed = await _checked(store, checks, caller, order)
    if known and not is_changed:
        return render_row(known)
    tries = count()

    def job(transaction: Transaction) -> Instance:
        # A job that has to run again met somebody: who may just have ordered the same.
        is_new = known is None and next(tries) == 0
        return _carry_out(transaction, caller, order, is_new)

    return await store.write(job)


async def plan(store: Store, checks: SchemaChecks, caller: Caller, order: InstanceRequest) -> Plan:
    """What the order would do; nothing is stored."""
    order = _normalised(caller, order)
    await _checked(store, checks, caller, order)
    return await store.read_much(lambda connection: _plan(connection, caller, order))


async def _checked(
    store: Store, checks: SchemaChecks, caller: Caller, order: InstanceRequest
) -> tuple[AnyRow | None, bool]:
    """The instance that is ordered, if it is there, and whether the order changes anything; raises what is wrong with an
    order that does.
    """
    row, is_changed, release = await store.read(lambda connection: _known(connection, caller, order))
    if release:  # with the database free for others: a schema may take long
        await check_parameters(checks, caller.owner, release, order)
    return row, is_changed


def _normalised(caller: Caller, order: InstanceRequest) -> InstanceRequest:
    caller.must_be(CallerKind.USER, CallerKind.PARTITION)
    if order.state is InstanceState.DESTROYED and not order.software_release:
        return order
    if order.sla.instance and not order.shared:
        raise InvalidInput(
            f"{order.reference} is not to be shared, but to be served by {order.sla.instance}.",
            "An instance with a partition of its own is served by nobody.",
            "Order it shared, or leave the instance out.",
        )
    return order.model_copy(update={"software_release": normalise_release_url(order.software_release, "/")})


def _known(
    connection: Connection, caller: Caller, order: InstanceRequest
) -> tuple[AnyRow | None, bool, KnownRelease | None]:
    """The instance that is ordered, if it is there, whether the order changes anything, and the release that its
    parameters are for, if those are new.

    Raises what is wrong with the rest of the order unless nothing is to be done.
    """
    row = living(connection, caller.requester, order.reference)
    if row is None and order.state is InstanceState.DESTROYED:
        raise NotFound(
            f"There is no instance {order.reference} to destroy.", "", "List what there is: slapos service list."
        )
    is_changed = row is None or _differs(row, order) is not None
    if order.state is InstanceState.DESTROYED or not is_changed:
        return row, is_changed, None
    if row and row.requested == InstanceState.DESTROYED:
        raise is_being_destroyed(row.reference)
    if row and order.shared != (row.host is not None):
        raise _is_of_other_kind(row)
    release = usable_release(connection, caller.owner, order)
    if order.sla.computer:
        check_computer(connection, caller.owner, order.sla.computer)
    return row, is_changed, release


def _differs(row: AnyRow, order: InstanceRequest) -> InstanceRequest | None:
    """What the instance's own request is to become; None when it is that already."""
    asked = current(row)
    if order.state is InstanceState.DESTROYED:
        # Whoever destroys need not repeat what it was.
        order = asked.model_copy(update={"state": InstanceState.DESTROYED})
    return None if asked == order and row.host != "" else order


def current(row: AnyRow) -> InstanceRequest:
    """What was last asked of an instance."""
    asked = {
        "reference": row.reference,
        "software_release": row.release,
        "software_type": row.type,
        "parameters": from_json(row.parameters),
        "state": row.wanted,
        "sla": from_json(row.sla),
        "shared": row.host is not None,
        "serialisation": row.serialisation,
    }
    return InstanceRequest.model_validate(asked, context=STORED)


def _carry_out(transaction: Transaction, caller: Caller, order: InstanceRequest, is_new: bool) -> Instance:
    row = None if is_new else living(transaction.connection, caller.requester, order.reference)
    if row is None:
        return _create(transaction, caller, order)
    host = _lock(transaction, row, order)
    # Read again: only now nobody else changes this tree.
    before, row = row, living(transaction.connection, caller.requester, order.reference) or row
    if row.host != before.host:
        raise HostGone
    wanted = _differs(row, order)
    if wanted:
        _change(transaction, caller, row, wanted, host)
    return view(transaction.connection, row.guid)


def _lock(transaction: Transaction, row: AnyRow, order: InstanceRequest) -> str:
    """Lock all trees that an order concerns; returns who is to serve the instance if it is shared."""
    host = row.host or ""
    if row.host is not None and order.state is not InstanceState.DESTROYED:
        host = keep_or_choose(transaction.connection, row, order)
    if order.state != row.wanted:
        lock(transaction, row.root, host)
    elif row.host is not None:
        lock_shared(transaction, row.root, row.host, host)
    else:
        touch(transaction, row.root)
    return host


def _create(transaction: Transaction, caller: Caller, order: InstanceRequest) -> Instance:
    host = choose(transaction.connection, caller.owner, order, caller.root) if order.shared else ""
    if host:
        lock_shared(transaction, caller.root, host)
    at = _place_in_tree(transaction, caller, order)
    columns = {
        **_UNKNOWN,
        **_ordered(order),
        "guid": at.guid,
        "owner": caller.owner,
        "requester": caller.requester,
        "reference": order.reference,
        "root": at.root,
        "parent": at.parent,
        "depth": at.depth,
        "requested": at.requested,
        "serving": 0,
        "created_at": now(),
        "changed_at": now(),
    }
    if host:
        columns |= asdict(take_on(transaction, host))
        return _stored(transaction, caller, order, columns)
    taken = place(transaction.connection, caller.owner, order, at.guid, at.root)
    columns |= {"computer": taken.computer, "partition": taken.partition, "host": None}
    columns |= {"revision": bump(transaction, taken.computer, -1)}
    beside = {"root_revision": at.tree_revision, "addresses": taken.addresses}
    return _stored(
        transaction,
        caller,
        order,
        columns,
        beside | {"software": taken.software, "software_message": taken.software_message},
    )


def _stored(
    transaction: Transaction,
    caller: Caller,
    order: InstanceRequest,
    columns: dict[str, Any],
    beside: dict[str, Any] | None = None,
) -> Instance:
    """A new instance, from its columns and from what is known beside them; what is not is read."""
    take = transaction.quotas.take
    take(transaction.connection, Quota.INSTANCES, caller.owner)
    take(transaction.connection, Quota.BYTES, caller.owner, len(columns["parameters"]))
    transaction.connection.execute(_INSERT, columns)
    record_first(transaction.connection, columns["guid"], caller.requester, order)
    return render(columns | beside) if beside else view(transaction.connection, columns["guid"])


# What nothing is known of yet.
_UNKNOWN = {
    "reported": "",
    "reported_revision": 0,
    "message": "",
    "promises": "[]",
    "connection": "{}",
    "published": "",
}
_INSERT = insert(instance)


def _ordered(order: InstanceRequest) -> dict[str, str]:
    """The columns that hold what was ordered."""
    return {
        "release": order.software_release,
        "type": order.software_type,
        "parameters": to_json(order.parameters),
        "sla": to_json(order.sla.model_dump()),
        "wanted": order.state,
        "serialisation": order.serialisation,
    }


def _place_in_tree(transaction: Transaction, caller: Caller, order: InstanceRequest) -> _Place:
    guid = _new_guid()
    if caller.kind is CallerKind.USER:
        return _Place(guid, guid, None, 0, order.state, 1)
    tree_revision = touch(transaction, caller.root)
    parent = transaction.connection.execute(_PARENT, {"parent_guid": caller.subject}).one()
    if parent.requested == InstanceState.DESTROYED:
        raise is_being_destroyed(parent.reference)
    state = weaker(InstanceState(parent.requested), order.state)
    return _Place(guid, parent.root, caller.subject, parent.depth + 1, state, tree_revision)


def _new_guid() -> str:
    """A name that nobody can guess. Later ones sort later, so that what is added together lies together on the disk."""
    return f"INST-{time.time_ns() // 1_000_000:011x}{secrets.token_hex(8)}"


_PARENT = select(instance.c.root, instance.c.depth, instance.c.requested, instance.c.reference).where(
    instance.c.guid == bindparam("parent_guid")
)


def _change(transaction: Transaction, caller: Caller, row: AnyRow, order: InstanceRequest, host: str) -> None:
    if row.requested == InstanceState.DESTROYED:
        raise is_being_destroyed(row.reference)
    values = {**_ordered(order), **_where(transaction, row, order, host), "changed_at": now()}
    more = len(values["parameters"]) - len(row.parameters)
    if more > 0:
        transaction.quotas.take(transaction.connection, Quota.BYTES, row.owner, more)
    transaction.connection.execute(update(instance).where(instance.c.guid == row.guid).values(**values))
    if order.state != row.wanted:
        cascade(transaction, row.root)
    record(transaction.connection, row.guid, caller.requester, order)


def _where(transaction: Transaction, row: AnyRow, order: InstanceRequest, host: str) -> dict[str, Any]:
    """Where an instance is after a change, as columns; raises what keeps it from being there."""
    is_going = order.state is InstanceState.DESTROYED
    if row.host is not None and not is_going:
        hosted = hand_over(transaction, row, host)
        return asdict(hosted) | ({} if hosted.host == row.host else _UNKNOWN)
    if row.host is None and not is_going:
        _check_place(transaction.connection, row, order)
    return {} if is_going else {"revision": bump(transaction, row.computer)}


def _check_place(connection: Connection, row: AnyRow, order: InstanceRequest) -> None:
    """An instance stays where it is: what is asked now must hold there too."""
    if order.software_release != row.release and not is_supplied(connection, row.computer, order.software_release):
        raise NotFound(
            f"{row.computer}, where {row.reference} is, is not supplied with {order.software_release}.",
            "An instance does not move by itself.",
            f"Supply it there first: slapos supply {order.software_release} {row.computer}.",
        )
    if to_json(order.sla.model_dump()) == row.sla:
        return
    (here,) = candidates_of(connection, row.owner, order.software_release, row.computer)
    refusals = sla_refusals(here, order.sla, occupied_by(connection, order, row.root, row.guid))
    if refusals:
        raise Conflict(
            f"{row.reference} is on {here.title}, which is not what is asked for now.",
            f"{here.title} {', '.join(refusals)}. An instance does not move by itself.",
            "Keep what was asked before, or destroy the instance and request it anew.",
        )


def _plan(connection: Connection, caller: Caller, order: InstanceRequest) -> Plan:
    row, _, _ = _known(connection, caller, order)
    if row is None:
        candidates = hosts_for if order.shared else placements_of
        placements = tuple(candidates(connection, caller.owner, order, caller.root))
        fits = [each.computer for each in placements if not each.refusals]
        return Plan(reference=order.reference, action="create", computer=fits[0] if fits else "", placements=placements)
    wanted = _differs(row, order)
    if wanted and row.host is None and order.state is not InstanceState.DESTROYED:
        _check_place(connection, row, wanted)
    return Plan(
        reference=order.reference,
        action="update" if wanted else "nothing",
        changes=_changes(connection, caller, current(row), wanted) if wanted else (),
        computer=row.computer,
        partition=row.partition,
    )


def _changes(
    connection: Connection, caller: Caller, before: InstanceRequest, after: InstanceRequest
) -> tuple[FieldChange, ...]:
    found = differences(before, after)
    if after.state is InstanceState.DESTROYED:
        return found
    release = usable_release(connection, caller.owner, after)
    return with_effects(release, after.software_type, found, after.shared)


def _is_of_other_kind(row: AnyRow) -> Conflict:
    is_shared = row.host is not None
    return Conflict(
        f"{row.reference} is {'a shared instance' if is_shared else 'an instance with a partition of its own'}.",
        "It cannot become the other kind.",
        f"Destroy it first, or order it {'' if is_shared else 'not '}shared, as it is.",
    )


def is_being_destroyed(reference: str) -> Conflict:
    """What to say to somebody who wants something of an instance that is to go."""
    return Conflict(
        f"{reference} is being destroyed.",
        "A destroyed instance does not come back; its name is free once its node removed it.",
        "Wait until it is gone (slapos service list), then request it again.",
    )
