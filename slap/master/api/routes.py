"""The master's HTTP interface: routes parse, call one service, render."""

import asyncio
import signal
import threading
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request, Response
from pydantic import BaseModel, TypeAdapter
from pydantic.warnings import UnsupportedFieldAttributeWarning
from starlette.responses import StreamingResponse

from slap.master import computer
from slap.master.access.auth import Guard
from slap.master.access.settings import AccessSettings
from slap.master.api import registration
from slap.master.api.body import BodyGate
from slap.master.api.call import Called, Services, as_node
from slap.master.api.errors import install_handlers
from slap.master.api.fast_path import ShortCut
from slap.master.api.long_poll import poll
from slap.master.database.engine import database_url, is_sqlite
from slap.master.database.hub import LONGEST_WAIT
from slap.master.database.postgres import PostgresStore
from slap.master.database.quota import Quotas
from slap.master.database.sqlite import SqliteStore
from slap.master.database.store import Store
from slap.master.hateoas.route import install_hateoas
from slap.master.jsonrpc.route import install_jsonrpc
from slap.master.multimaster.requests import Orders, connection_to
from slap.master.release.reader import ReleaseReader
from slap.master.schema.validation import SchemaChecks, SchemaSettings
from slap.master.service import instance, logs, rename, supply, tree, usage
from slap.master.service.certificate import Certificates
from slap.master.service.registration import Registrations
from slap.master.service.report import ReportService
from slap.master.service.state import StateService
from slap.master.settings import ReleaseSettings
from slap.master.settings_slapproxy import Beside
from slap.master.slapos.served_revision import Served
from slap.master.slaptool import routes
from slap.model.base import Frozen
from slap.model.computer import Computer, ComputerConfiguration, ComputerRegistration, RegisteredComputer
from slap.model.errors import ErrorDocument
from slap.model.instance import Answer, HistoryEntry, Instance, InstanceRequest, InstanceTree, Plan, Renaming
from slap.model.node import DesiredState, Incarnation, NodeReport
from slap.model.software import SoftwareRelease, Supply, SupplyRequest
from slap.model.usage import UsageReport, UsageSeries
from slap.model.values import MAX_INTEGER, LargeText, Line, Message, Word
from slap.system.serving.connections import counts
from slap.system.serving.limits import BodyLimits

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


class Health(Frozen):
    """A master that answers at all is well. The numbers are those of the process that answers."""

    status: str = "ok"
    connections: dict[str, int] | None = None
    refused: dict[str, int] | None = None


Since = Annotated[int, Query(ge=0, le=MAX_INTEGER)]
Wait = Annotated[float, Query(ge=0, le=LONGEST_WAIT)]


def create_app(
    words: str,
    settings: AccessSettings | None = None,
    beside: Beside | None = None,
    limits: BodyLimits | None = None,
    releases: ReleaseSettings | None = None,
    schemas: SchemaSettings | None = None,
) -> FastAPI:
    """The application on the database at this URL, which has been migrated."""
    beside = beside or Beside()
    # FastAPI gives an alias to each body, of which pydantic says that it does nothing once it builds a deferred model.
    warnings.filterwarnings("ignore", category=UnsupportedFieldAttributeWarning)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = open_store(words)
        store.quotas = Quotas((settings or AccessSettings()).quotas)
        checks = SchemaChecks(schemas or SchemaSettings())
        reader = ReleaseReader(releases or ReleaseSettings(), checks)
        app.state.services = _services(store, settings or AccessSettings(), beside, reader)
        app.state.served = Served(store)
        _end_waiting_at_sigterm(store)
        try:
            yield
        finally:
            checks.close()
            await store.close()

    app = FastAPI(
        title="Slap master",
        version="1",
        lifespan=lifespan,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(router)
    registration.install(app)
    install_jsonrpc(app)
    install_hateoas(app)
    routes.install(app)
    app.add_api_route("/health", _health, response_model=Health)
    app.add_middleware(ShortCut)
    app.add_middleware(BodyGate, limits=limits or BodyLimits())
    install_handlers(app)
    return app


def _services(store: Store, settings: AccessSettings, beside: Beside, releases: ReleaseReader) -> Services:
    checks = releases.checks
    guard = Guard(store, settings)
    certificates = Certificates(store, guard, settings)
    return Services(
        store,
        guard,
        StateService(store, guard),
        ReportService(store),
        certificates,
        Registrations(store, guard, certificates),
        Orders(store, checks, beside.others, connection_to),
        checks,
        beside.products,
        releases,
    )


def _end_waiting_at_sigterm(store: Store) -> None:
    """A server that ends waits for the requests under way: those that only wait for news are answered first."""
    loop = asyncio.get_running_loop()
    former = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(store.hub.end)
        if callable(former):
            former(number, frame)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


def open_store(words: str) -> Store:
    """The store of a database, for the running event loop."""
    url = database_url(words)
    return SqliteStore(url) if is_sqlite(url) else PostgresStore(url)


def _document(document: BaseModel) -> Response:
    # Rendered once, by the model itself; FastAPI would validate it a second time.
    return Response(document.__pydantic_serializer__.to_json(document), media_type="application/json")


def _documents(kind: type[BaseModel], documents: list[BaseModel]) -> Response:
    return Response(TypeAdapter(list[kind]).dump_json(documents), media_type="application/json")  # type: ignore[valid-type]


def _nothing() -> Response:
    return Response(b"{}", media_type="application/json")


async def _health(request: Request) -> Response:
    health, services = Health.model_validate(counts(request.scope)), request.app.state.services
    refused = {**services.checks.refused, **services.releases.refused, **services.store.quotas.refused}
    if health.refused is not None or refused:
        health = health.model_copy(update={"refused": {**(health.refused or {}), **refused}})
    return Response(health.model_dump_json(exclude_none=True), media_type="application/json")


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
