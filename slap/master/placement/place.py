"""Taking a partition: the candidates out of the database, and the one update that nobody else can win too."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, or_, select, update

from slap.master.computer import no_computer
from slap.master.database.tables import AnyRow, computer, instance, is_living, partition, supply
from slap.master.database.text import from_json
from slap.master.placement.rank import NOWHERE, Candidate, Occupied, cannot_be_placed, rank
from slap.model.instance import InstanceRequest, Placement, Spread

# The emptiest computers are nearly always enough; all of them are looked at only before giving up.
_FEW = 16


@dataclass(frozen=True)
class Taken:
    """A partition that is ours now, and how far its computer is with the release."""

    computer: str
    partition: str
    addresses: str
    software: str
    software_message: str


def place(connection: Connection, owner: str, order: InstanceRequest, guid: str, root: str = "") -> Taken:
    """Take a free partition for an instance of a tree; raises CannotBePlaced with a line for each computer."""
    occupied = occupied_by(connection, order, root)
    for few in (_FEW, None):
        placements = _ranked(connection, owner, order, few, occupied)
        for each in placements:
            taken = None if each.refusals else _take(connection, each.computer, guid, order.software_release)
            if taken:
                return taken
    raise cannot_be_placed(order.reference, order.software_release, placements)


def placements_of(connection: Connection, owner: str, order: InstanceRequest, root: str = "") -> list[Placement]:
    return _ranked(connection, owner, order, None, occupied_by(connection, order, root))


def occupied_by(connection: Connection, order: InstanceRequest, root: str, but: str = "") -> Occupied:
    """Where the instances of a tree are, if that matters to an order; `but` is one that does not count."""
    if order.sla.spread is Spread.NONE or not root:
        return NOWHERE
    rows = connection.execute(_OCCUPIED, {"root": root, "but": but}).all()
    return Occupied(frozenset(row.guid for row in rows), frozenset(row.network for row in rows) - {""})


def candidates_of(connection: Connection, owner: str, url: str, guid: str) -> list[Candidate]:
    query = _CANDIDATES.where(computer.c.guid == guid)
    return [_candidate(row) for row in connection.execute(query, {"owner": owner, "url": url}).all()]


def check_computer(connection: Connection, owner: str, name: str) -> None:
    """Raise NotFound unless there is a computer of this guid or title."""
    same = or_(computer.c.guid == bindparam("name"), computer.c.title == bindparam("name"))
    query = select(computer.c.guid).where(computer.c.owner == bindparam("owner"), same)
    if connection.execute(query, {"owner": owner, "name": name}).first() is None:
        raise no_computer(connection, owner, name)


_OCCUPIED = (
    select(computer.c.guid, computer.c.network)
    .join_from(instance, computer, computer.c.guid == instance.c.computer)
    .where(instance.c.root == bindparam("root"), is_living, instance.c.guid != bindparam("but"))
    .distinct()
)
_SUPPLIED = (
    select(1)
    .where(supply.c.computer == computer.c.guid, supply.c.url == bindparam("url"), supply.c.requested == "available")
    .correlate(computer)
    .exists()
)
_CANDIDATES = select(
    computer.c.guid,
    computer.c.title,
    computer.c.free_partitions,
    computer.c.labels,
    computer.c.capabilities,
    computer.c.network,
    _SUPPLIED.label("is_supplied"),
    computer.c.revoked_at.is_not(None).label("is_revoked"),
).where(computer.c.owner == bindparam("owner"))
_PROMISING = (
    _CANDIDATES.where(computer.c.free_partitions > 0, _SUPPLIED, computer.c.revoked_at.is_(None))
    .order_by(computer.c.free_partitions.desc(), computer.c.guid)
    .limit(_FEW)
)
_FREE = (
    select(partition.c.name)
    .where(partition.c.computer == bindparam("on"), partition.c.instance.is_(None))
    .order_by(partition.c.ordinal)
    .limit(1)
    .with_for_update(skip_locked=True)  # on PostgreSQL; SQLite has one writer at a time
    .scalar_subquery()
)
_REPORTED = select(supply).where(supply.c.computer == bindparam("on"), supply.c.url == bindparam("url"))
_TAKE = (
    update(partition)
    .where(partition.c.computer == bindparam("on"), partition.c.name == _FREE, partition.c.instance.is_(None))
    .values(instance=bindparam("guid"))
    .returning(
        partition.c.name,
        partition.c.addresses,
        _REPORTED.with_only_columns(supply.c.reported).scalar_subquery(),
        _REPORTED.with_only_columns(supply.c.message).scalar_subquery(),
    )
)


def _ranked(
    connection: Connection, owner: str, order: InstanceRequest, few: int | None, occupied: Occupied
) -> list[Placement]:
    query: Select[Any] = _PROMISING if few else _CANDIDATES
    if few and order.sla.computer:
        query = query.where(or_(computer.c.guid == order.sla.computer, computer.c.title == order.sla.computer))
    rows = connection.execute(query, {"owner": owner, "url": order.software_release}).all()
    return rank((_candidate(row) for row in rows), order.sla, occupied)


def _take(connection: Connection, computer_guid: str, guid: str, url: str) -> Taken | None:
    row = connection.execute(_TAKE, {"on": computer_guid, "guid": guid, "url": url}).first()
    return Taken(computer_guid, *row) if row else None


def _candidate(row: AnyRow) -> Candidate:
    return Candidate(
        guid=row.guid,
        title=row.title,
        free_partitions=row.free_partitions,
        labels=from_json(row.labels),
        capabilities=frozenset(from_json(row.capabilities)),
        network=row.network,
        is_supplied=bool(row.is_supplied),
        is_revoked=bool(row.is_revoked),
    )
