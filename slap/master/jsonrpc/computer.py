"""The JSON-RPC methods about compute nodes and what they are supplied with."""

from collections.abc import Sequence

from slap.master import computer
from slap.master.database.tables import AnyRow
from slap.master.jsonrpc.call import Document, Method, RpcCall, done
from slap.master.jsonrpc.schema import (
    ComputerMessage,
    Format,
    FormattedPartition,
    Installation,
    InstallationError,
    InstallationReported,
    Nothing,
    OfComputer,
    Usage,
)
from slap.master.service import supply, usage
from slap.master.service.impersonation import as_computer
from slap.master.slapos.status_text import computer_news
from slap.master.slaptool.reports import reason_of
from slap.model.node import DesiredState
from slap.model.slapos.format import configuration_of
from slap.model.software import SupplyRequest
from slap.model.state import ReportedSupplyState, SupplyState

_LONGEST_LOG = 64 * 1024  # of a log, what is kept: its end says what went wrong
_ROUTE = "route_"  # before the name of a tap interface: what is routed to it


async def _desired(call: RpcCall, guid: str) -> tuple[DesiredState, Sequence[AnyRow]]:
    """What a computer shall have, and the rows of its instances; it is remembered up to where it was told."""
    node = await as_computer(call.store, call.caller, guid)
    state, rows = await call.services.states.summary(node, node.subject)
    await call.served.note(node.subject, state.revision)
    return state, rows


async def instances(call: RpcCall, asked: OfComputer) -> Document:
    _, rows = await _desired(call, asked.computer_guid)
    return {
        "result_list": [
            {
                "title": each.reference,
                "instance_guid": each.guid,
                "state": each.state,
                "compute_partition_id": each.partition,
                "software_release_uri": each.software_release,
            }
            for each in rows
        ]
    }


async def installations(call: RpcCall, asked: OfComputer) -> Document:
    state, _ = await _desired(call, asked.computer_guid)
    found = [{"software_release_uri": each.url, "state": each.state.value} for each in state.supplies]
    return {"result_list": found}


async def status(call: RpcCall, asked: OfComputer) -> Document:
    return computer_news(await computer.show(call.store, call.caller, asked.computer_guid))


async def bang(call: RpcCall, asked: ComputerMessage) -> Document:
    await computer.bang(call.store, call.caller, asked.computer_guid)
    return done("Bang handled")


async def configure(call: RpcCall, asked: Format) -> Document:
    """Take over the partitions of a node; what it cannot say over this protocol stays as it is."""
    known = await computer.show(call.store, call.caller, asked.computer_guid)
    told = {"reference": known.guid, "partition_list": [_as_classic(each) for each in asked.compute_partition_list]}
    changed = configuration_of(told, known.configuration)
    await computer.configure(call.store, call.caller, known.guid, changed)
    return done("Formatted")


def _as_classic(formatted: FormattedPartition) -> Document:
    """A partition in the words of the classic protocol, which has what is routed to a tap interface apart."""
    document: Document = {"reference": formatted.partition_id, "address_list": [], "tap": {}}
    for each in formatted.ip_list:
        if each.interface.startswith(_ROUTE):
            routed = {"addr": each.address, "gateway": each.gateway, "netmask": each.netmask, "network": each.network}
            document["tap"] |= {f"ipv4_{name}": value for name, value in routed.items()}
            continue
        document["address_list"].append({"addr": each.address})
        # Without a tap interface an address is said to be of the partition itself.
        if each.interface not in ("", formatted.partition_id):
            document["tap"]["name"] = each.interface
    return document


async def use(call: RpcCall, asked: Usage) -> Document:
    node = await as_computer(call.store, call.caller, asked.computer_guid)
    await usage.report_journal(call.store, node, node.subject, asked.tioxml)
    return done("Usage is known")


async def install(call: RpcCall, asked: Installation) -> Document:
    state = SupplyState(asked.state)
    wanted = SupplyRequest(url=asked.software_release_uri, computer=asked.computer_guid, state=state)
    supplied = await supply.request_supply(call.store, call.caller, wanted, call.read_release)
    return done(f"Supplied {supplied.url} to be {supplied.requested}")


async def installation_reported(call: RpcCall, asked: InstallationReported) -> Document:
    state = ReportedSupplyState(asked.reported_state)
    await call.spoken.supply(call.caller, asked.computer_guid, asked.software_release_uri, state)
    return done(f"{asked.software_release_uri} is {state}")


async def installation_failed(call: RpcCall, asked: InstallationError) -> Document:
    url, failed = asked.software_release_uri, ReportedSupplyState.ERROR
    log = asked.message[-_LONGEST_LOG:]
    await call.spoken.supply(call.caller, asked.computer_guid, url, failed, reason_of(log), log)
    return done(f"The failure of {url} is known")


async def hateoas_url(call: RpcCall, asked: Nothing) -> Document:
    return {"hateoas_url": f"{call.base}hateoas"}


METHODS = {
    "slapos.allDocs.v0.compute_node_instance_list": Method(OfComputer, instances),
    "slapos.allDocs.v0.compute_node_software_installation_list": Method(OfComputer, installations),
    "slapos.get.v0.compute_node_status": Method(OfComputer, status),
    "slapos.get.v0.hateoas_url": Method(Nothing, hateoas_url),
    "slapos.post.v0.compute_node_usage": Method(Usage, use),
    "slapos.post.v0.software_installation": Method(Installation, install),
    "slapos.put.v0.compute_node_bang": Method(ComputerMessage, bang),
    "slapos.put.v0.compute_node_format": Method(Format, configure),
    "slapos.put.v0.software_installation_error": Method(InstallationError, installation_failed),
    "slapos.put.v0.software_installation_reported_state": Method(InstallationReported, installation_reported),
}
