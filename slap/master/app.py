"""The master as one ASGI application: its services, put together, and every protocol over them."""

import asyncio
import signal
import threading
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

from fastapi import FastAPI, Request, Response
from pydantic.warnings import UnsupportedFieldAttributeWarning

from slap.master.access.auth import Guard
from slap.master.access.settings import AccessSettings
from slap.master.api import registration
from slap.master.api import routes as api
from slap.master.api.body import BodyGate
from slap.master.api.call import Services
from slap.master.api.errors import install_handlers
from slap.master.api.fast_path import ShortCut
from slap.master.database.engine import database_url, is_sqlite
from slap.master.database.postgres import PostgresStore
from slap.master.database.quota import Quotas
from slap.master.database.sqlite import SqliteStore
from slap.master.database.store import Store
from slap.master.hateoas.route import install_hateoas
from slap.master.jsonrpc.route import install_jsonrpc
from slap.master.multimaster.config import Beside
from slap.master.multimaster.requests import Orders, connection_to
from slap.master.release.reader import ReleaseReader
from slap.master.release.settings import ReleaseSettings
from slap.master.schema.validation import SchemaChecks, SchemaSettings
from slap.master.service.certificate import Certificates
from slap.master.service.registration import Registrations
from slap.master.service.report import ReportService
from slap.master.service.state import StateService
from slap.master.slapos.served_revision import Served
from slap.master.slaptool import routes as slaptool
from slap.model.base import Frozen
from slap.system.serving.connections import counts
from slap.system.serving.limits import BodyLimits


class Health(Frozen):
    """A master that answers at all is well. The numbers are those of the process that answers."""

    status: str = "ok"
    connections: dict[str, int] | None = None
    refused: dict[str, int] | None = None


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
        openapi_url=f"{api.PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(api.router)
    registration.install(app)
    install_jsonrpc(app)
    install_hateoas(app)
    slaptool.install(app)
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


async def _health(request: Request) -> Response:
    health, services = Health.model_validate(counts(request.scope)), request.app.state.services
    refused = {**services.checks.refused, **services.releases.refused, **services.store.quotas.refused}
    if health.refused is not None or refused:
        health = health.model_copy(update={"refused": {**(health.refused or {}), **refused}})
    return Response(health.model_dump_json(exclude_none=True), media_type="application/json")
