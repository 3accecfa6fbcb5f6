"""The classic protocol of SlapOS: what nodes and partitions say of themselves."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from slap.master import computer
from slap.master.access.auth import Caller
from slap.master.api.call import Call, Called, CalledForPartition
from slap.master.service import orphan, rename, shared, tree, usage
from slap.master.service.impersonation import as_computer, as_partition
from slap.master.service.shared import remember_form
from slap.master.slapos.single_reports import Spoken, may_report, published
from slap.master.slaptool.forms import Fields, Form, TextRoute, marshalled, text
from slap.model.errors import InvalidInput
from slap.model.instance import Renaming
from slap.model.slapos.format import configuration_of, reference_of
from slap.model.state import ReportedInstanceState, ReportedSupplyState

router = APIRouter(route_class=TextRoute, include_in_schema=False)

# Of a log, what is kept: its end says what went wrong.
_LONGEST_LOG = 64 * 1024
_LONGEST_MESSAGE = 4000
_TRACEBACK = "Traceback (most recent call last)"


def _spoken(call: CalledForPartition, request: Request) -> Spoken:
    return Spoken(call.store, call.services.reports, request.app.state.served)


Speaking = Annotated[Spoken, Depends(_spoken)]


async def _inside(call: Call, asked: Fields) -> Caller:
    return await as_partition(call.store, call.caller, asked["computer_id"], asked["computer_partition_id"])


async def _state(
    call: Call, asked: Fields, spoken: Spoken, state: ReportedInstanceState, message: str = ""
) -> Response:
    may_report(call.caller, state)
    inside = await _inside(call, asked)
    await spoken.state(inside, inside.subject, state, message)
    return text("OK")


@router.post("/startedComputerPartition")
async def started(call: CalledForPartition, asked: Form, spoken: Speaking) -> Response:
    return await _state(call, asked, spoken, ReportedInstanceState.STARTED)


@router.post("/stoppedComputerPartition")
async def stopped(call: CalledForPartition, asked: Form, spoken: Speaking) -> Response:
    return await _state(call, asked, spoken, ReportedInstanceState.STOPPED)


@router.post("/destroyedComputerPartition")
async def destroyed(call: CalledForPartition, asked: Form, spoken: Speaking) -> Response:
    return await _state(call, asked, spoken, ReportedInstanceState.DESTROYED)


@router.post("/softwareInstanceError")
async def failed(call: CalledForPartition, asked: Form, spoken: Speaking) -> Response:
    """An instance failed. What is said of one that it serves is told as being of itself: its node retries only that."""
    served = asked.get("slave_reference")
    words = reason_of(asked.printed("error_log"))
    message = f"{served}, which it serves: {words}" if served else words
    return await _state(call, asked, spoken, ReportedInstanceState.ERROR, message)


@router.post("/setComputerPartitionConnectionXml")
async def publish(call: CalledForPartition, asked: Form, spoken: Speaking) -> Response:
    inside = await _inside(call, asked)
    given = await asyncio.to_thread(asked.table, "connection_xml") if asked.is_large else asked.table("connection_xml")
    told = {key: value if isinstance(value, str) else str(value) for key, value in given.items()}
    guid = asked.get("slave_reference") or inside.subject
    connection, form = published(told)
    # First the form: who is told of the connection reads both.
    await remember_form(call.store, inside, guid, form)
    if guid == inside.subject:
        await spoken.connection(inside, guid, connection)
    else:
        await shared.publish(call.store, inside, guid, connection)
    return text("OK")


@router.post("/softwareInstanceBang")
async def bang_instance(call: CalledForPartition, asked: Form) -> Response:
    inside = await _inside(call, asked)
    await tree.bang(call.store, inside, inside.subject)
    return text("OK")


@router.post("/updateComputerPartitionRelatedInstanceList")
async def keep_requested(call: CalledForPartition, asked: Form) -> Response:
    """All that an instance requested in its last complete run: what it had requested before that is no longer needed."""
    inside = await _inside(call, asked)
    requested = await asyncio.to_thread(asked.value, "instance_reference_xml")
    if not isinstance(requested, list) or not all(isinstance(each, str) for each in requested):
        raise InvalidInput("instance_reference_xml is not a list of strings.")
    await orphan.collect(call.store, inside, requested)
    return text("OK")


@router.post("/softwareInstanceRename")
async def rename_instance(call: CalledForPartition, asked: Form) -> Response:
    """Another name for an instance, or for one that it serves."""
    inside = await _inside(call, asked)
    guid = asked.get("slave_reference") or inside.subject
    await rename.rename(call.store, inside, guid, Renaming(name=asked["new_name"]))
    return text("OK")


@router.post("/useComputer")
async def use_computer(call: Called, asked: Form) -> Response:
    node = await as_computer(call.store, call.caller, asked["computer_id"])
    await usage.report_journal(call.store, node, node.subject, asked["use_string"])
    return text("OK")


async def _release(call: Call, asked: Fields, spoken: Spoken, state: ReportedSupplyState) -> Response:
    log = asked.printed("error_log")
    message = reason_of(log) if state is ReportedSupplyState.ERROR else ""
    await spoken.supply(call.caller, asked["computer_id"], asked["url"], state, message, log[-_LONGEST_LOG:])
    return text("OK")


@router.post("/buildingSoftwareRelease")
async def building(call: Called, asked: Form, spoken: Speaking) -> Response:
    return await _release(call, asked, spoken, ReportedSupplyState.BUILDING)


@router.post("/availableSoftwareRelease")
async def available(call: Called, asked: Form, spoken: Speaking) -> Response:
    return await _release(call, asked, spoken, ReportedSupplyState.AVAILABLE)


@router.post("/destroyedSoftwareRelease")
async def removed(call: Called, asked: Form, spoken: Speaking) -> Response:
    return await _release(call, asked, spoken, ReportedSupplyState.DESTROYED)


@router.post("/softwareReleaseError")
async def build_failed(call: Called, asked: Form, spoken: Speaking) -> Response:
    return await _release(call, asked, spoken, ReportedSupplyState.ERROR)


@router.post("/computerBang")
async def bang_computer(call: Called, asked: Form) -> Response:
    await computer.bang(call.store, call.caller, asked["computer_id"])
    return marshalled("")


@router.post("/loadComputerConfigurationFromXML")
async def configure(call: Called, asked: Form) -> Response:
    document = await asyncio.to_thread(asked.value, "xml")  # one of a large computer takes seconds
    known = await computer.known_or_new(call.store, call.caller, reference_of(document))
    await computer.configure(call.store, call.caller, known.guid, configuration_of(document, known.configuration))
    return text("OK")


def reason_of(log: str) -> str:
    """What a log tells people: of a traceback its last line, of all else the end."""
    words = log.strip()
    if words.startswith(_TRACEBACK):
        return words.splitlines()[-1]
    return words[-_LONGEST_MESSAGE:]
