"""What the classic protocol tells of a computer, read from the database: all of it at once, or one partition."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection, bindparam, case, func, select

from slap.master.access.auth import Caller, CallerKind
from slap.master.computer import find
from slap.master.database.pages import PagedDocument, paged
from slap.master.database.tables import AnyRow, instance, is_living, partition, release, supply
from slap.master.database.text import from_json
from slap.master.schema.parameters import known_release
from slap.master.service.supply import releases_of
from slap.master.slaptool.objects import Slot, computer_object, partition_object, release_object
from slap.model.errors import NotFound
from slap.model.instance import Instance
from slap.model.serialisation import Serialisation
from slap.model.software import SoftwareRelease
from slap.model.state import InstanceState
from slap.system.marshal import XML, SlapObject, dumps, unwrapped

_EMPTY_LIST = b"<list></list>"
_root = instance.alias("root_row")
_INSTANCES = select(
    instance.c.guid,
    instance.c.owner,
    instance.c.root,
    instance.c.host,
    instance.c.reference,
    instance.c.release,
    instance.c.type,
    instance.c.parameters,
    instance.c.serialisation,
    instance.c.sla,
    instance.c.requested,
    instance.c.reported,
    instance.c.reported_revision,
    instance.c.message,
    instance.c.connection,
    instance.c.published,
    instance.c.revision,
    instance.c.serving,
    _root.c.reference.label("root_reference"),
).join_from(instance, _root, _root.c.guid == instance.c.root)
_SOME_INSIDE = _INSTANCES.where(instance.c.guid.in_(bindparam("guids", expanding=True)), is_living)
_INSIDE = _INSTANCES.where(instance.c.guid == bindparam("guid"))
# Nobody serves what is stopped or destroyed.
_SERVED_BY = _INSTANCES.where(
    instance.c.host == bindparam("guid"), instance.c.requested == InstanceState.STARTED, is_living
).order_by(instance.c.guid)
_SERVED_BY_SOME = _INSTANCES.where(
    instance.c.host.in_(bindparam("hosts", expanding=True)), instance.c.requested == InstanceState.STARTED, is_living
).order_by(instance.c.guid)
_SOME_SLOTS = (
    select(partition)
    .where(partition.c.computer == bindparam("computer"), partition.c.name.in_(bindparam("names", expanding=True)))
    .order_by(partition.c.ordinal)
)
_guest = instance.alias("guest")
_SHARED_SIZE = (
    select(func.sum(func.length(_guest.c.parameters))).where(_guest.c.host == instance.c.guid).scalar_subquery()
)
_SLOT_SIZES = (
    select(
        partition.c.name,
        func.coalesce(
            func.length(instance.c.parameters)
            + func.length(instance.c.connection)
            + func.length(instance.c.message)
            + case((instance.c.serving > 0, func.coalesce(_SHARED_SIZE, 0)), else_=0),
            0,
        ).label("size"),
    )
    .join_from(partition, instance, instance.c.guid == partition.c.instance, isouter=True)
    .where(partition.c.computer == bindparam("computer"))
    .order_by(partition.c.ordinal)
)
_ONE_SLOT = select(partition).where(
    partition.c.computer == bindparam("computer"), partition.c.name == bindparam("name")
)
_BESIDE = (
    select(partition, release.c.document)
    .join_from(partition, release, release.c.url == bindparam("url"))
    .where(partition.c.computer == bindparam("computer"), partition.c.name == bindparam("name"))
)
_SLOTS_OF_TREE = (
    select(partition)
    .join_from(instance, partition, partition.c.instance == instance.c.guid)
    .where(instance.c.root == bindparam("root"), is_living)
    .order_by(instance.c.depth, instance.c.guid)
)
_SUPPLIES = select(supply.c.url, supply.c.requested, supply.c.reported).where(
    supply.c.computer == bindparam("computer")
)
_RELEASE = select(release.c.document).where(release.c.url == bindparam("url"))


def whole_computer(connection: Connection, guid: str) -> PagedDocument:
    """All that a node is to make of its computer, marshalled. Its cost grows with the partitions, and nothing else."""
    empty = dumps(computer_object(guid, _wanted_releases(connection, guid), []))
    head, tail = empty.rsplit(_EMPTY_LIST, 1)
    head, tail = head + _EMPTY_LIST[:-7], _EMPTY_LIST[-7:] + tail
    render = partial(_partitions, guid=guid)
    batches, first = paged(connection, _SLOT_SIZES, {"computer": guid}, render)
    return PagedDocument(head, tail, batches, first, render, b"", XML)


def _partitions(connection: Connection, names: Sequence[str], guid: str) -> list[bytes]:
    """Partitions of a computer with what is in them."""
    slots = connection.execute(_SOME_SLOTS, {"computer": guid, "names": names}).all()
    used = [row.instance for row in slots if row.instance]
    inside = {row.guid: row for row in connection.execute(_SOME_INSIDE, {"guids": used})} if used else {}
    shared = defaultdict(list)
    hosts = [row.guid for row in inside.values() if row.serving]
    for row in connection.execute(_SERVED_BY_SOME, {"hosts": hosts}) if hosts else ():
        shared[row.host].append(row)
    releases = releases_of(connection, {row.release for row in inside.values()})
    objects = (partition_object(_slot(row, inside.get(row.instance), releases, shared)) for row in slots)
    return [unwrapped(dumps(each)) for each in objects]


def visible_slot(connection: Connection, caller: Caller, guid: str, name: str) -> Slot:
    """A partition that the caller may see: on its computer, or with an instance of its tree in it; raises NotFound."""
    if caller.kind is not CallerKind.PARTITION:
        return _slot_of(connection, find(connection, caller, guid).guid, name)
    slot = _slot_of(connection, guid, name)
    if slot.inside is None or not caller.may_see_tree(slot.inside.root, slot.inside.owner):
        raise _no_partition(guid, name)
    return slot


def answer_beside(connection: Connection, got: Instance) -> tuple[Slot, Serialisation]:
    """What an answer says of the partition of an instance, and what the release declares."""
    which = {"computer": got.computer, "name": got.partition, "url": got.software_release}
    row = connection.execute(_BESIDE, which).first()
    if row is None:  # it is not on a computer of this master
        return Slot(got.computer, got.partition, got.addresses), Serialisation.NONE
    declared = known_release(row.document).release.serialisation_of(got.software_type, got.shared)
    return _slot(row, None, {}, {}), declared


def addresses_of_tree(connection: Connection, root: str) -> list[tuple[str, str]]:
    rows = connection.execute(_SLOTS_OF_TREE, {"root": root}).all()
    return [pair for row in rows for pair in _slot(row, None, {}, {}).ip_list]


def _slot_of(connection: Connection, guid: str, name: str) -> Slot:
    row = connection.execute(_ONE_SLOT, {"computer": guid, "name": name}).first()
    if row is None:
        raise _no_partition(guid, name)
    if row.instance is None:
        return _slot(row, None, {}, {})
    which = {"guid": row.instance}
    inside = connection.execute(_INSIDE, which).one()
    shared = connection.execute(_SERVED_BY, which).all()
    document = connection.execute(_RELEASE, {"url": inside.release}).scalar_one()
    return _slot(row, inside, {inside.release: known_release(document).release}, {inside.guid: list(shared)})


def _no_partition(guid: str, name: str) -> NotFound:
    return NotFound(f"There is no partition {name} on {guid}.", "", "Partitions are made by: slapos node format.")


def _slot(
    row: AnyRow,
    inside: AnyRow | None,
    releases: dict[str, SoftwareRelease],
    shared: dict[str, list[AnyRow]],
) -> Slot:
    return Slot(
        computer=row.computer,
        name=row.name,
        addresses=from_json(row.addresses),
        tap=row.tap,
        route=from_json(row.route) if row.route else (),
        inside=inside,
        release=releases.get(inside.release) if inside else None,
        shared=shared.get(inside.guid, ()) if inside else (),
    )


def _wanted_releases(connection: Connection, guid: str) -> list[SlapObject]:
    rows = connection.execute(_SUPPLIES.order_by(supply.c.url), {"computer": guid}).all()
    return [
        release_object(row.url, guid, row.requested)
        for row in rows
        if (row.requested, row.reported) != ("destroyed", "destroyed")
    ]
