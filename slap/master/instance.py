"""Instances: requested, changed, planned."""

import secrets
import time
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from slap.master.access.auth import Caller, CallerKind
from slap.master.computer import bump
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, instance
from slap.master.database.text import from_json, now, to_json
from slap.master.history import differences, record, record_first
from slap.master.order.allocation import sla_refusals
from slap.master.order.parameters import check_parameters
from slap.master.order.place import candidates_of, check_computer, place, placements_of
from slap.master.supply import is_supplied, usable_release
from slap.master.tree import cascade, living, render, render_row, touch, view, weaker
from slap.model.errors import Conflict, NotFound
from slap.model.instance import Instance, InstanceRequest, Plan
from slap.model.software import normalise_release_url
from slap.model.state import InstanceState

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


async def request(store: Store, caller: Caller, order: InstanceRequest) -> Instance:
    """Have an instance as ordered. The same order again finds it so, and writes nothing."""
    order = _normalised(caller, order)
    for _ in range(_ATTEMPTS):
        try:
            return await _request(store, caller, order)
        except IntegrityError:
            continue  # somebody else ordered the same at the same moment: now it is known
    raise Conflict(f"{order.reference} is being requested by others at this moment.", "", "Repeat the request.")


async def _request(store: Store, caller: Caller, order: InstanceRequest) -> Instance:
    known = await store.read(lambda connection: _known(connection, caller, order))
    if known and _differs(known, order) is None:
        return render_row(known)
    return await store.write(lambda transaction: _carry_out(transaction, caller, order, known is None))


async def plan(store: Store, caller: Caller, order: InstanceRequest) -> Plan:
    """What the order would do; nothing is stored."""
    order = _normalised(caller, order)
    return await store.read_much(lambda connection: _plan(connection, caller, order))


def _normalised(caller: Caller, order: InstanceRequest) -> InstanceRequest:
    caller.must_be(CallerKind.USER, CallerKind.PARTITION)
    if order.state is InstanceState.DESTROYED and not order.software_release:
        return order
    return order.model_copy(update={"software_release": normalise_release_url(order.software_release, "/")})


def _known(connection: Connection, caller: Caller, order: InstanceRequest) -> AnyRow | None:
    """The instance that is ordered, if it is there; raises what is wrong with the order unless nothing is to be done."""
    row = living(connection, caller.requester, order.reference)
    if row is None and order.state is InstanceState.DESTROYED:
        raise NotFound(
            f"There is no instance {order.reference} to destroy.", "", "List what there is: slapos service list."
        )
    if order.state is InstanceState.DESTROYED or (row and _differs(row, order) is None):
        return row
    if row and row.requested == InstanceState.DESTROYED:
        raise _is_being_destroyed(row.reference)
    release = usable_release(connection, caller.owner, order.software_release)
    check_parameters(release, order.software_type, order.parameters)
    if order.sla.computer:
        check_computer(connection, caller.owner, order.sla.computer)
    return row


def _differs(row: AnyRow, order: InstanceRequest) -> InstanceRequest | None:
    """What the instance's own request is to become; None when it is that already."""
    current = _current(row)
    if order.state is InstanceState.DESTROYED:
        # Whoever destroys need not repeat what it was.
        order = current.model_copy(update={"state": InstanceState.DESTROYED})
    return None if current == order else order


def _current(row: AnyRow) -> InstanceRequest:
    return InstanceRequest(
        reference=row.reference,
        software_release=row.release,
        software_type=row.type,
        parameters=from_json(row.parameters),
        state=row.wanted,
        sla=from_json(row.sla),
    )


def _carry_out(transaction: Transaction, caller: Caller, order: InstanceRequest, is_new: bool) -> Instance:
    row = None if is_new else living(transaction.connection, caller.requester, order.reference)
    if row is None:
        return _create(transaction, caller, order)
    touch(transaction, row.root)
    # Read again: only now nobody else changes this tree.
    row = living(transaction.connection, caller.requester, order.reference) or row
    wanted = _differs(row, order)
    if wanted:
        _change(transaction, caller, row, wanted)
    return view(transaction.connection, row.guid)


def _create(transaction: Transaction, caller: Caller, order: InstanceRequest) -> Instance:
    at = _place_in_tree(transaction, caller, order)
    taken = place(transaction.connection, caller.owner, order, at.guid)
    columns = {
        **_NEW,
        **_ordered(order),
        "guid": at.guid,
        "owner": caller.owner,
        "requester": caller.requester,
        "reference": order.reference,
        "root": at.root,
        "parent": at.parent,
        "depth": at.depth,
        "computer": taken.computer,
        "partition": taken.partition,
        "requested": at.requested,
        "revision": bump(transaction, taken.computer, -1),
        "created_at": now(),
        "changed_at": now(),
    }
    transaction.connection.execute(_INSERT, columns)
    record_first(transaction.connection, at.guid, caller.requester, order)
    beside = {"root_revision": at.tree_revision, "addresses": taken.addresses}
    return render(columns | beside | {"software": taken.software, "software_message": taken.software_message})


# What nothing is known of yet.
_NEW = {"reported": "", "reported_revision": 0, "message": "", "promises": "[]", "connection": "{}"}
_INSERT = insert(instance)


def _ordered(order: InstanceRequest) -> dict[str, str]:
    """The columns that hold what was ordered."""
    return {
        "release": order.software_release,
        "type": order.software_type,
        "parameters": to_json(order.parameters),
        "sla": to_json(order.sla.model_dump()),
        "wanted": order.state,
    }


def _place_in_tree(transaction: Transaction, caller: Caller, order: InstanceRequest) -> _Place:
    guid = _new_guid()
    if caller.kind is CallerKind.USER:
        return _Place(guid, guid, None, 0, order.state, 1)
    tree_revision = touch(transaction, caller.root)
    parent = transaction.connection.execute(_PARENT, {"parent_guid": caller.subject}).one()
    if parent.requested == InstanceState.DESTROYED:
        raise _is_being_destroyed(parent.reference)
    state = weaker(InstanceState(parent.requested), order.state)
    return _Place(guid, parent.root, caller.subject, parent.depth + 1, state, tree_revision)


def _new_guid() -> str:
    """A name that nobody can guess. Later ones sort later, so that what is added together lies together on the disk."""
    return f"INST-{time.time_ns() // 1_000_000:011x}{secrets.token_hex(8)}"


_PARENT = select(instance.c.root, instance.c.depth, instance.c.requested, instance.c.reference).where(
    instance.c.guid == bindparam("parent_guid")
)


def _change(transaction: Transaction, caller: Caller, row: AnyRow, order: InstanceRequest) -> None:
    if row.requested == InstanceState.DESTROYED:
        raise _is_being_destroyed(row.reference)
    if order.state is not InstanceState.DESTROYED:
        _check_place(transaction.connection, row, order)
    values = {**_ordered(order), "revision": bump(transaction, row.computer), "changed_at": now()}
    transaction.connection.execute(update(instance).where(instance.c.guid == row.guid).values(**values))
    if order.state != row.wanted:
        cascade(transaction, row.root)
    record(transaction.connection, row.guid, caller.requester, order)


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
    refusals = sla_refusals(here, order.sla)
    if refusals:
        raise Conflict(
            f"{row.reference} is on {here.title}, which is not what is asked for now.",
            f"{here.title} {', '.join(refusals)}. An instance does not move by itself.",
            "Keep what was asked before, or destroy the instance and request it anew.",
        )


def _plan(connection: Connection, caller: Caller, order: InstanceRequest) -> Plan:
    row = _known(connection, caller, order)
    if row is None:
        placements = tuple(placements_of(connection, caller.owner, order))
        fits = [each.computer for each in placements if not each.refusals]
        return Plan(reference=order.reference, action="create", computer=fits[0] if fits else "", placements=placements)
    wanted = _differs(row, order)
    if wanted and order.state is not InstanceState.DESTROYED:
        _check_place(connection, row, wanted)
    return Plan(
        reference=order.reference,
        action="update" if wanted else "nothing",
        changes=differences(_current(row), wanted) if wanted else (),
        computer=row.computer,
        partition=row.partition,
    )


def _is_being_destroyed(reference: str) -> Conflict:
    return Conflict(
        f"{reference} is being destroyed.",
        "A destroyed instance does not come back; its name is free once its node removed it.",
        "Wait until it is gone (slapos service list), then request it again.",
    )
