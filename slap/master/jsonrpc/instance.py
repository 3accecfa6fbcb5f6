"""The JSON-RPC methods about instances."""

from sqlalchemy import Connection

from slap.master.access.auth import Caller, CallerKind
from slap.master.database.tables import AnyRow
from slap.master.database.text import from_json
from slap.master.jsonrpc.call import Document, Method, RpcCall, done
from slap.master.jsonrpc.document import shown, shown_elsewhere
from slap.master.jsonrpc.schema import (
    InstanceMessage,
    InstanceReported,
    InstanceTitle,
    Nothing,
    OfInstance,
    OfPartition,
    OfTitle,
    Order,
    Published,
)
from slap.master.service import rename, tree
from slap.master.service.impersonation import as_instance, as_partition, speaking_of
from slap.master.service.shared import remember_form, shared_instances
from slap.master.service.supply import releases_of
from slap.master.slapos.single_reports import may_report, published
from slap.master.slaptool.reports import reason_of
from slap.model.errors import NotFound
from slap.model.instance import InstanceRequest, Renaming
from slap.model.serialisation import Serialisation, unwrap, wrap
from slap.model.sla_filters import sla_from_filters
from slap.model.software import SoftwareRelease
from slap.model.state import InstanceState, ReportedInstanceState


async def _shown(call: RpcCall, guid: str) -> Document:
    return await call.store.read(lambda connection: shown(connection, call.caller, guid))


async def _wherever(call: RpcCall, guid: str) -> Document:
    """An instance of the caller's, whichever master placed it."""
    found = await call.services.orders.placed_elsewhere(call.caller, guid)
    return shown_elsewhere(found) if found else await _shown(call, guid)


async def order(call: RpcCall, asked: Order) -> Document:
    parameters, serialisation = unwrap(asked.parameters)
    wanted = InstanceRequest(
        reference=asked.title,
        software_release=asked.software_release_uri,
        software_type=asked.software_type,
        parameters=parameters,
        serialisation=serialisation,
        state=InstanceState(asked.state),
        sla=sla_from_filters(asked.sla_parameters),
        shared=asked.shared,
    )
    got = await call.services.orders.request(call.caller, wanted)
    return shown_elsewhere(got) if got.placed_by else await _shown(call, got.guid)


async def one(call: RpcCall, asked: OfInstance) -> Document:
    """An instance. A node that asks acts upon what it is told now, and not upon the list that it had before."""
    if call.caller.kind is not CallerKind.COMPUTER:
        return await _wherever(call, asked.instance_guid)
    # Read before the document: what changes in between is said to be later than what the node was told.
    latest = await call.served.latest(call.caller.subject)
    document = await _shown(call, asked.instance_guid)
    await call.served.note(call.caller.subject, latest)
    return document


async def in_partition(call: RpcCall, asked: OfPartition) -> Document:
    latest = await call.served.latest(asked.computer_guid)
    inside = await as_partition(call.store, call.caller, asked.computer_guid, asked.compute_partition_id)
    document = await call.store.read(lambda connection: shown(connection, inside, inside.subject))
    if call.caller.kind is not CallerKind.PARTITION:
        await call.served.note(asked.computer_guid, latest)
    return document


async def trees(call: RpcCall, asked: Nothing) -> Document:
    found = await call.services.orders.names(call.caller)
    return {"result_list": [{"title": each.reference} for each in found]}


async def one_tree(call: RpcCall, asked: OfTitle) -> Document:
    found = await call.services.orders.listing(call.caller, asked.title)
    if not found or not asked.title:
        raise NotFound(f"There is no instance tree {asked.title}.", "", "List what there is: slapos service list.")
    return await _wherever(call, found[0].guid)


async def served_by(call: RpcCall, asked: OfInstance) -> Document:
    """The shared instances that an instance serves."""
    found = await call.store.read_much(lambda connection: _served_by(connection, call.caller, asked.instance_guid))
    return {"result_list": found}


def _served_by(connection: Connection, caller: Caller, guid: str) -> list[Document]:
    speaking_of(connection, caller, guid)
    rows = shared_instances(connection, guid)
    releases = releases_of(connection, {row.release for row in rows})
    return [_served(row, releases[row.release]) for row in rows]


def _served(row: AnyRow, release: SoftwareRelease) -> Document:
    declared = release.serialisation_of(row.type, shared=True)
    return {
        "title": row.reference,
        "instance_guid": row.guid,
        "software_release_uri": row.release,
        "software_type": row.type,
        "state": row.requested,
        "parameters": wrap(from_json(row.parameters), declared, Serialisation(row.serialisation)),
        "compute_partition_id": row.partition,
    }


async def reported(call: RpcCall, asked: InstanceReported) -> Document:
    state = ReportedInstanceState(asked.reported_state)
    may_report(call.sender, state)
    await call.spoken.state(call.caller, asked.instance_guid, state)
    return done(f"{asked.instance_guid} is {asked.reported_state}")


async def failed(call: RpcCall, asked: InstanceMessage) -> Document:
    await call.spoken.state(call.caller, asked.instance_guid, ReportedInstanceState.ERROR, reason_of(asked.message))
    return done(f"The failure of {asked.instance_guid} is known")


async def publish(call: RpcCall, asked: Published) -> Document:
    """Publish connection parameters, for an instance or for a shared one that it serves."""
    guid = asked.instance_guid
    connection, form = published(asked.connection_parameter_dict)
    row = await call.store.read(lambda connection: speaking_of(connection, call.caller, guid))
    host = Caller(CallerKind.PARTITION, row.host or row.guid, row.owner, row.root)
    await remember_form(call.store, host, guid, form)
    await call.spoken.connection(call.caller, guid, connection)
    return done("Updated")


async def bang(call: RpcCall, asked: InstanceMessage) -> Document:
    await tree.bang(call.store, await _within_tree(call, asked.instance_guid), asked.instance_guid)
    return done("Bang handled")


async def rename_instance(call: RpcCall, asked: InstanceTitle) -> Document:
    inside = await _within_tree(call, asked.instance_guid)
    await rename.rename(call.store, inside, asked.instance_guid, Renaming(name=asked.title))
    return done("Renamed")


async def _within_tree(call: RpcCall, guid: str) -> Caller:
    """The caller, or for a node the instance that it speaks for: computers have no business in trees."""
    if call.caller.kind is not CallerKind.COMPUTER:
        return call.caller
    return await call.store.read(lambda connection: as_instance(connection, call.caller, guid))


METHODS = {
    "slapos.allDocs.v0.instance_node_instance_list": Method(OfInstance, served_by),
    "slapos.allDocs.v0.instance_tree_list": Method(Nothing, trees),
    "slapos.get.v0.compute_partition": Method(OfPartition, in_partition),
    "slapos.get.v0.instance_tree": Method(OfTitle, one_tree),
    "slapos.get.v0.software_instance": Method(OfInstance, one),
    "slapos.post.v0.software_instance": Method(Order, order),
    "slapos.put.v0.software_instance_bang": Method(InstanceMessage, bang),
    "slapos.put.v0.software_instance_connection_parameter": Method(Published, publish),
    "slapos.put.v0.software_instance_error": Method(InstanceMessage, failed),
    "slapos.put.v0.software_instance_reported_state": Method(InstanceReported, reported),
    "slapos.put.v0.software_instance_title": Method(InstanceTitle, rename_instance),
}
