"""One instance as the JSON-RPC methods show it."""

from sqlalchemy import Connection, bindparam, select

from slap.master.access.auth import Caller, CallerKind
from slap.master.database.tables import AnyRow, instance, partition
from slap.master.database.text import from_json
from slap.master.jsonrpc.call import Document
from slap.master.service.tree import view
from slap.master.slapos.status_text import instance_news
from slap.master.slapos.string_parameters import worded
from slap.master.slaptool.objects import Slot
from slap.model.errors import NotFound
from slap.model.instance import Instance
from slap.model.sla_filters import filters_from_sla

_root = instance.alias("root_row")
_SHOWN = (
    select(
        instance.c.guid,
        instance.c.owner,
        instance.c.root,
        instance.c.computer,
        instance.c.host,
        instance.c.revision,
        _root.c.reference.label("root_reference"),
        partition.c.name.label("slot"),
        partition.c.addresses,
        partition.c.tap,
        partition.c.route,
    )
    .select_from(
        instance.join(_root, _root.c.guid == instance.c.root).outerjoin(
            partition, partition.c.instance == instance.c.guid
        )
    )
    .where(instance.c.guid == bindparam("guid"))
)


def shown(connection: Connection, caller: Caller, guid: str) -> Document:
    """The document of an instance that the caller may see: one of its own, of its computer, of its tree."""
    row = connection.execute(_SHOWN, {"guid": guid}).first()
    if row is None or not _may_see(caller, row):
        raise NotFound(f"There is no instance {guid}.", "", "List the instances that there are: slapos service list.")
    (known,) = worded(connection, [view(connection, guid)])
    return _document(row, known)


def shown_elsewhere(known: Instance) -> Document:
    """The document of an instance that another master placed."""
    slot = Slot(known.computer, known.partition, known.addresses)
    return _of_known(known, slot) | {"root_instance_title": known.reference, "processing_timestamp": known.revision}


def _may_see(caller: Caller, row: AnyRow) -> bool:
    if caller.kind is CallerKind.COMPUTER:
        return bool(caller.subject == row.computer)
    return caller.may_see_tree(row.root, row.owner)


def _document(row: AnyRow, known: Instance) -> Document:
    beside = {"root_instance_title": row.root_reference, "processing_timestamp": row.revision}
    return _of_known(known, _slot(row)) | beside | {"shared": row.host is not None}


def _of_known(known: Instance, slot: Slot) -> Document:
    return {
        "title": known.reference,
        "instance_guid": known.guid,
        "software_release_uri": known.software_release,
        "software_type": known.software_type,
        "state": known.requested.value,
        "connection_parameters": known.connection,
        "parameters": known.parameters,
        "shared": known.shared,
        "ip_list": slot.ip_list,
        "full_ip_list": slot.full_ip_list,
        "sla_parameters": filters_from_sla(known.sla),
        "computer_guid": known.computer,
        "compute_partition_id": known.partition,
        "access_status_message": instance_news(known)["text"],
    }


def _slot(row: AnyRow) -> Slot:
    """The partition of an instance; a shared one has none, and so no addresses."""
    if row.slot is None:
        return Slot(row.computer, "", ())
    route = from_json(row.route) if row.route else ()
    return Slot(row.computer, row.slot, from_json(row.addresses), row.tap, route)
