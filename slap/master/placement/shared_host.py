"""Finding who serves a shared instance: the candidates out of the database, and the one that takes it on."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, update

from slap.master.computer import bump
from slap.master.database.store import Transaction
from slap.master.database.tables import AnyRow, computer, instance, is_living
from slap.master.database.text import from_json
from slap.master.placement.cascade import tell_host
from slap.master.placement.place import occupied_by
from slap.master.placement.rank import Candidate
from slap.master.placement.shared_rank import Host, cannot_be_served, rank_hosts, unfit
from slap.model.instance import InstanceRequest, Placement
from slap.model.state import InstanceState

# Those that serve the fewest are nearly always enough; all are looked at only before giving up.
_FEW = 16


class HostGone(Exception):
    """Who was to serve a shared instance went away meanwhile: begin the transaction anew."""


@dataclass(frozen=True)
class Hosted:
    """Who serves a shared instance now, and the revision of its computer that tells it so."""

    host: str
    computer: str
    partition: str
    revision: int


def choose(connection: Connection, owner: str, order: InstanceRequest, root: str) -> str:
    """The guid of who is to serve one more; raises CannotBePlaced with a line for each candidate."""
    for few in (_FEW, None):
        placements = _ranked(connection, owner, order, root, few)
        if placements and not placements[0].refusals:
            return placements[0].instance
    raise cannot_be_served(order, placements)


def keep_or_choose(connection: Connection, row: AnyRow, order: InstanceRequest) -> str:
    """Who serves a shared instance after a change: the same as before, unless that one is gone or not what is asked for."""
    rows = connection.execute(_ONE, {"host": row.host}).all()
    here = [host for host in map(_host, rows) if host.requested is not InstanceState.DESTROYED]
    if here and order.software_release in (row.release, rows[0].release) and not unfit(here[0], order):
        return str(row.host)
    return choose(connection, row.owner, order, row.root)


def take_on(transaction: Transaction, host: str) -> Hosted:
    """Have an instance whose tree is locked serve one more."""
    computer_guid = transaction.connection.execute(_COMPUTER, {"host": host}).scalar_one()
    revision = bump(transaction, computer_guid)
    row = transaction.connection.execute(_TAKE_ON, {"member": host, "at": revision}).first()
    if row is None:
        raise HostGone
    return Hosted(host, computer_guid, row.partition, revision)


def hand_over(transaction: Transaction, row: AnyRow, host: str) -> Hosted:
    """Have a shared instance that changed served by a host, which may be another one than before.

    Nothing is lost by a move: what a shared instance is made of is its parameters.
    """
    if host == row.host:
        return Hosted(host, row.computer, row.partition, tell_host(transaction, host, row.computer))
    hosted = take_on(transaction, host)
    if row.host:
        tell_host(transaction, row.host, row.computer, -1)
    return hosted


def hosts_for(connection: Connection, owner: str, order: InstanceRequest, root: str = "") -> list[Placement]:
    return _ranked(connection, owner, order, root, None)


_CANDIDATES = (
    select(
        instance.c.guid,
        instance.c.reference,
        instance.c.release,
        instance.c.type,
        instance.c.requested,
        instance.c.reported,
        instance.c.serving,
        computer.c.guid.label("on"),
        computer.c.title,
        computer.c.free_partitions,
        computer.c.labels,
        computer.c.capabilities,
        computer.c.network,
    )
    .join_from(instance, computer, computer.c.guid == instance.c.computer)
    .where(instance.c.host.is_(None), is_living)
)
_ONE = _CANDIDATES.where(instance.c.guid == bindparam("host"))
_OF_RELEASE = _CANDIDATES.where(instance.c.owner == bindparam("owner"), instance.c.release == bindparam("release"))
_PROMISING = (
    _OF_RELEASE.where(instance.c.type == bindparam("type"), instance.c.requested == "started")
    .order_by(instance.c.serving)
    .limit(_FEW)
)
_NAMED = _OF_RELEASE.where(instance.c.guid == bindparam("named"))
_COMPUTER = select(instance.c.computer).where(instance.c.guid == bindparam("host"))
# Guarded: one that is about to be destroyed takes nobody on.
_TAKE_ON = (
    update(instance)
    .where(instance.c.guid == bindparam("member"), is_living, instance.c.requested == "started")
    .values(serving=instance.c.serving + 1, revision=bindparam("at"))
    .returning(instance.c.partition)
)


def _ranked(connection: Connection, owner: str, order: InstanceRequest, root: str, few: int | None) -> list[Placement]:
    which: dict[str, Any] = {"owner": owner, "release": order.software_release}
    query: Select[Any] = _OF_RELEASE
    if order.sla.instance:
        query, which = _NAMED, which | {"named": order.sla.instance}
    elif few:
        query, which = _PROMISING, which | {"type": order.software_type}
    hosts = [_host(row) for row in connection.execute(query, which).all()]
    return rank_hosts(hosts, order, occupied_by(connection, order, root))


def _host(row: AnyRow) -> Host:
    on = Candidate(
        guid=row.on,
        title=row.title,
        free_partitions=row.free_partitions,
        labels=from_json(row.labels),
        capabilities=frozenset(from_json(row.capabilities)),
        network=row.network,
    )
    return Host(
        guid=row.guid,
        reference=row.reference,
        software_type=row.type,
        requested=InstanceState(row.requested),
        serves=row.serving,
        computer=on,
        is_failing=row.reported == "error",
    )
