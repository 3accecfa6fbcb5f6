"""The routes of the cache: each parses, asks one service, and renders."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from slap.cache.server.access import AccessControl
from slap.cache.server.blobs import Blobs
from slap.cache.server.body import Body
from slap.cache.server.directory import Directory, render_envelopes, render_slapos_entries
from slap.cache.server.metrics import EVERY, Metrics
from slap.cache.server.quota import Quota
from slap.cache.server.responses import blob_headers, blob_response, install_handlers, json_response, stream_response
from slap.cache.server.send_timeout import SendTimeout
from slap.cache.server.settings import CacheSettings
from slap.cache.server.statement import key_digest, parse_signed_entry, parse_slapos_entry
from slap.cache.server.tokens import TokenFile
from slap.cache.storage.storage import Storage
from slap.model.cache import LARGEST_ENVELOPE, MOST_AT_ONCE
from slap.model.errors import InvalidInput, NotFound, SlapError
from slap.system.revocations import RevokedCertificates
from slap.system.serving.connections import counts

log = logging.getLogger(__name__)

_READERS = 32
_KEY = re.compile(r"[0-9a-f]{64}")
_PAGE = re.compile(r"|[0-9a-f]{2}")


@dataclass(frozen=True)
class Services:
    """What lives as long as the process."""

    settings: CacheSettings
    revoked: RevokedCertificates
    access: AccessControl
    blobs: Blobs
    entries: Directory
    slapos_entries: Directory
    quota: Quota
    metrics: Metrics


def create_app(settings: CacheSettings, storage: Storage) -> Starlette:
    quota = Quota(settings.quota, storage.keys)
    metrics = Metrics()
    revoked = RevokedCertificates(settings.revocations, settings.authority, settings.revocations_file)
    services = Services(
        settings,
        revoked,
        AccessControl(TokenFile(settings.token_file), settings.read, revoked),
        Blobs(storage, quota, settings.spool),
        Directory(storage, quota, "entry", render_envelopes),
        Directory(storage, quota, "dir", render_slapos_entries),
        quota,
        metrics,
    )
    app = Starlette(
        routes=_ROUTES,
        lifespan=_lifespan,
        middleware=[Middleware(SendTimeout, seconds=settings.patience * 2, metrics=metrics)],
    )
    app.router.redirect_slashes = False
    app.state.services = services
    install_handlers(app)
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    services: Services = app.state.services
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_READERS, "read"))
    jobs = [_count(services.quota), _log_metrics(services)]
    if services.settings.revocations:
        jobs.append(_fetch_revocations(services))
    tasks = [asyncio.create_task(job) for job in jobs]
    yield
    for task in tasks:
        task.cancel()
    services.blobs.close()
    _log_line(services)


async def _count(quota: Quota) -> None:
    while True:
        try:
            await asyncio.to_thread(quota.recount)
        except (SlapError, OSError) as error:
            log.error("What is stored could not be counted. %s", error)
        await asyncio.sleep(3600)


async def _fetch_revocations(services: Services) -> None:
    while True:
        await asyncio.to_thread(services.revoked.fetch)
        await asyncio.sleep(services.settings.revocations_seconds)


async def _log_metrics(services: Services) -> None:
    while True:
        await asyncio.sleep(EVERY)
        _log_line(services)


def _log_line(services: Services) -> None:
    if line := services.metrics.line(services.quota):
        log.info("%s", line)


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _entries(request: Request) -> Response:
    services = _services(request)
    services.access.read(request)
    return json_response(await services.entries.told(_key(request)))


async def _add_entry(request: Request) -> Response:
    services = _services(request)
    writer = services.access.write(request)
    filed = parse_signed_entry(await _read_small_body(request, services))
    if filed.key != _key(request):
        raise InvalidInput("The entry is of another key.", f"It belongs under {filed.key}.")
    return Response(status_code=201 if await services.entries.add(filed, writer) else 200)


async def _page(request: Request) -> Response:
    services = _services(request)
    services.access.read(request)
    page = request.query_params.get("page", "")
    if not _PAGE.fullmatch(page):
        raise InvalidInput(f"{page[:20]!r} is no page.", "It is what `next` of the page before says.")
    documents, following = await services.entries.page(page)
    return json_response(render_envelopes(documents)[:-1] + f',"next":{json.dumps(following)}}}'.encode())


async def _blob(request: Request) -> Response:
    services, digest = _services(request), request.path_params["digest"]
    services.access.read(request)
    if request.method == "HEAD":
        return Response(headers=blob_headers(digest, await services.blobs.size(digest)))
    return blob_response(digest, await services.blobs.open(digest, request.headers.get("range", "")))


async def _blobs(request: Request) -> Response:
    services, digests = _services(request), request.query_params.get("sha512", "").split(",")
    services.access.read(request)
    if len(digests) > MOST_AT_ONCE:
        raise InvalidInput(f"{len(digests)} blobs are too many at once.", f"Ask for {MOST_AT_ONCE} at most.")
    return stream_response(await services.blobs.open_all(digests))


async def _put_blob(request: Request) -> Response:
    services, digest = _services(request), request.path_params["digest"]
    services.access.write(request)
    if await services.blobs.has(digest):
        return Response(status_code=200)
    await services.blobs.receive(digest, _body(request, services))
    return Response(status_code=201)


async def _post_blob(request: Request) -> Response:
    services = _services(request)
    services.access.write(request)
    digest = await services.blobs.receive_unnamed(_body(request, services))
    return Response(digest, 201, media_type="text/plain")


async def _slapos_entries(request: Request) -> Response:
    services, key = _services(request), request.path_params["key"]
    services.access.read(request)
    told = await services.slapos_entries.told(key_digest(key))
    if not told:
        raise NotFound(f"There are no entries under {key[:200]!r}.")
    return json_response(told)


async def _add_slapos_entry(request: Request) -> Response:
    services = _services(request)
    writer = services.access.write(request)
    body = await _read_small_body(request, services)
    await services.slapos_entries.add(
        parse_slapos_entry(request.path_params["key"], body, services.settings.unsigned), writer
    )
    return Response(status_code=201)


async def _status(request: Request) -> Response:
    services = _services(request)
    services.access.read(request)
    quota = services.quota
    writer = await asyncio.to_thread(services.access.find_writer, request)
    told = {"objects": quota.objects, "bytes": quota.used, "quota": quota.limit, "writes": bool(writer)}
    return json_response(json.dumps(told).encode())


async def _health(request: Request) -> Response:
    return json_response(json.dumps({"status": "ok", **counts(request.scope)}).encode())


def _key(request: Request) -> str:
    key: str = request.path_params["key"]
    if not _KEY.fullmatch(key):
        raise InvalidInput(f"{key[:200]!r} is no key.", "It is a SHA-256 in 64 small hexadecimal digits.")
    return key


def _body(request: Request, services: Services) -> Body:
    return Body(request, services.settings.largest, services.settings.patience)


async def _read_small_body(request: Request, services: Services) -> bytes:
    return await Body(request, LARGEST_ENVELOPE, services.settings.patience).whole()


_get = partial(Route, methods=["GET", "HEAD"])
_put = partial(Route, methods=["PUT"])

_ROUTES = [
    _get("/api/v1/entries/{key}", _entries),
    _get("/api/v1/blobs/{digest}", _blob),
    Route("/api/v1/blobs", _blobs, methods=["GET"]),
    _put("/api/v1/entries/{key}", _add_entry),
    _put("/api/v1/blobs/{digest}", _put_blob),
    _get("/api/v1/entries", _page),
    _get("/api/v1/status", _status),
    _get("/health", _health),
    *(
        route
        for cache, directory in (("cache", "dir"), ("shacache", "shadir"))
        for route in (
            _get(f"/{cache}/{{digest}}", _blob),
            _put(f"/{cache}/{{digest}}", _put_blob),
            Route(f"/{cache}", _post_blob, methods=["POST"]),
            _get(f"/{directory}/{{key}}", _slapos_entries),
            _put(f"/{directory}/{{key}}", _add_slapos_entry),
        )
    ),
]
