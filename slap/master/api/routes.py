"""The routes of /api/v1: each parses, calls one service, and renders."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, TypeAdapter
from starlette.responses import StreamingResponse

from slap.master import computer
from slap.master.api.call import Called, as_node
from slap.master.api.long_poll import poll
from slap.master.database.hub import LONGEST_WAIT
from slap.master.service import instance, logs, rename, supply, tree, usage
from slap.model.base import Frozen
from slap.model.computer import Computer, ComputerConfiguration, ComputerRegistration, RegisteredComputer
from slap.model.errors import ErrorDocument
from slap.model.instance import Answer, HistoryEntry, Instance, InstanceRequest, InstanceTree, Plan, Renaming
from slap.model.node import DesiredState, Incarnation, NodeReport
from slap.model.software import SoftwareRelease, Supply, SupplyRequest
from slap.model.usage import UsageReport, UsageSeries
from slap.model.values import MAX_INTEGER, LargeText, Line, Message, Word

PREFIX = "/api/v1"

# Every answer that is not a success has this body.
_ERRORS = {status: {"model": ErrorDocument} for status in (400, 401, 403, 404, 409, 500, 503)}
router = APIRouter(prefix=PREFIX, responses=_ERRORS)  # type: ignore[arg-type]


class Bang(Frozen):
    """Why all is to be processed again."""

    message: Message = ""


class Journal(Frozen):
    """What partitions used on a day, in TioXML."""

    text: LargeText


class LogText(Frozen):
    """The last lines of the logs of an instance."""

    text: str


Since = Annotated[int, Query(ge=0, le=MAX_INTEGER)]
Wait = Annotated[float, Query(ge=0, le=LONGEST_WAIT)]


def _document(document: BaseModel) -> Response:
    # Rendered once, by the model itself; FastAPI would validate it a second time.
    return Response(document.__pydantic_serializer__.to_json(document), media_type="application/json")


def _documents(kind: type[BaseModel], documents: list[BaseModel]) -> Response:
    return Response(TypeAdapter(list[kind]).dump_json(documents), media_type="application/json")  # type: ignore[valid-type]


def _nothing() -> Response:
    return Response(b"{}", media_type="application/json")


# Routes are tried one after the other: those that are asked most come first.
@router.post("/instances", response_model=Instance)
async def request_instance(call: Called, order: InstanceRequest) -> Response:
    return _document(await call.services.orders.request(call.caller, order))


@router.get("/computers/{guid}/state", response_model=DesiredState)
async def desired_state(
    request: Request,
    call: Called,
    guid: Word,
    since: Since = 0,
    wait: Wait = 0,
    incarnation: Incarnation | None = None,
) -> Response:
    node, states = await as_node(call, guid), call.services.states
    return await poll(request, node, wait, lambda left: states.desired_state(node, guid, since, left, incarnation))


@router.post("/computers/{guid}/reports")
async def report(call: Called, guid: Word, report: NodeReport) -> Response:
    await call.services.reports.report(await as_node(call, guid), guid, report)
    return _nothing()


@router.post("/computers", response_model=RegisteredComputer)
async def register_computer(call: Called, registration: ComputerRegistration) -> Response:
    registered = await computer.register(call.store, call.caller, registration)
    call.services.guard.forget()
    return _document(registered)


@router.get("/computers", response_model=list[Computer])
async def computers(call: Called) -> Response:
    return _documents(Computer, list(await computer.listing(call.store, call.caller)))


@router.get("/computers/{guid}", response_model=Computer)
async def one_computer(call: Called, guid: Word) -> Response:
    return _document(await computer.show(call.store, call.caller, guid))


@router.put("/computers/{guid}/configuration", response_model=Computer)
async def configure_computer(call: Called, guid: Word, configuration: ComputerConfiguration) -> Response:
    if call.caller.is_local:
        await computer.known_or_new(call.store, call.caller, guid)
    return _document(await computer.configure(call.store, call.caller, guid, configuration))


@router.post("/computers/{guid}/token", response_model=RegisteredComputer)
async def new_computer_token(call: Called, guid: Word) -> Response:
    registered = await computer.new_token(call.store, call.caller, guid)
    call.services.guard.forget()
    return _document(registered)


@router.post("/computers/{guid}/bang")
async def bang_computer(call: Called, guid: Word, why: Bang) -> Response:
    await computer.bang(call.store, call.caller, guid)
    return _nothing()


@router.post("/computers/{guid}/usage")
async def report_usage(call: Called, guid: Word, told: UsageReport) -> Response:
    await usage.report(call.store, await as_node(call, guid), guid, told)
    return _nothing()


@router.post("/computers/{guid}/journal")
async def report_journal(call: Called, guid: Word, journal: Journal) -> Response:
    await usage.report_journal(call.store, await as_node(call, guid), guid, journal.text)
    return _nothing()


@router.get("/computers/{guid}/usage", response_model=list[UsageSeries])
async def computer_usage(call: Called, guid: Word) -> Response:
    return _documents(UsageSeries, list(await usage.of_computer(call.store, call.caller, guid)))


@router.get("/instances/{guid}/usage", response_model=UsageSeries)
async def instance_usage(call: Called, guid: Word) -> Response:
    return _document(await usage.of_instance(call.store, call.caller, guid))


@router.put("/supplies", response_model=Supply)
async def request_supply(call: Called, wanted: SupplyRequest) -> Response:
    return _document(await supply.request_supply(call.store, call.caller, wanted, call.read_release))


@router.get("/supplies", response_model=list[Supply])
async def supplies(call: Called, computer: Line = "", url: Line = "") -> Response:
    return _documents(Supply, list(await supply.listing(call.store, call.caller, computer, url)))


@router.get("/releases", response_model=list[SoftwareRelease])
async def releases(call: Called) -> Response:
    return StreamingResponse(supply.release_documents(call.store, call.caller), media_type="application/json")


@router.post("/plans", response_model=Plan)
async def plan(call: Called, order: InstanceRequest) -> Response:
    return _document(await instance.plan(call.store, call.services.checks, call.caller, order))


@router.get("/instances", response_model=list[Instance])
async def instances(request: Request, call: Called, reference: Line = "") -> Response:
    if not reference:
        found = await call.services.orders.paged_listing(call.caller)
        return await call.services.paged.response(request, call.store, call.caller.owner, found)
    return _documents(Instance, list(await call.services.orders.listing(call.caller, reference)))


@router.get("/instances/{guid}", response_model=Instance)
async def one_instance(call: Called, guid: Word) -> Response:
    return _document(await call.services.orders.show(call.caller, guid))


@router.get("/instances/{root}/tree", response_model=InstanceTree)
async def instance_tree(
    request: Request,
    call: Called,
    root: Word,
    since: Since = 0,
    wait: Wait = 0,
    incarnation: Incarnation | None = None,
) -> Response:
    orders, caller = call.services.orders, call.caller
    return await poll(request, caller, wait, lambda left: orders.follow(caller, root, since, left, incarnation))


@router.get("/instances/{guid}/answer", response_model=Answer)
async def answer(request: Request, call: Called, guid: Word, wait: Wait = 0) -> Response:
    orders = call.services.orders
    return await poll(request, call.caller, wait, lambda left: orders.answer(call.caller, guid, left))


@router.get("/instances/{guid}/history", response_model=list[HistoryEntry])
async def history(call: Called, guid: Word) -> Response:
    return _documents(HistoryEntry, list(await call.services.orders.history(call.caller, guid)))


@router.post("/instances/{guid}/bang")
async def bang_instance(call: Called, guid: Word, why: Bang) -> Response:
    await tree.bang(call.store, call.caller, guid)
    return _nothing()


@router.put("/instances/{guid}/name", response_model=Instance)
async def rename_instance(call: Called, guid: Word, to: Renaming) -> Response:
    return _document(await rename.rename(call.store, call.caller, guid, to))


@router.get("/instances/{guid}/logs", response_model=LogText)
async def instance_logs(call: Called, guid: Word, lines: Annotated[int, Query(ge=1, le=10_000)] = 100) -> Response:
    text = await logs.logs(call.store, call.caller, guid, lines)
    await call.services.guard.check_in_force(call.caller)  # it may have waited for long
    return _document(LogText(text=text))
