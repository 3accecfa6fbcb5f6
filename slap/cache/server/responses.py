"""Answers: blobs piece by piece, documents, and every failure as one ErrorDocument."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from slap.cache.server.blobs import Opened, Stream
from slap.cache.server.ranges import BadRange
from slap.cache.storage.storage import PIECE
from slap.model.errors import InvalidInput, NotFound, SlapError

log = logging.getLogger(__name__)

# The bytes of a digest never change: whoever is between may keep them.
_FOR_EVER = "public, max-age=31536000, immutable"


def in_json(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type="application/json")


def blob_headers(digest: str, size: int) -> dict[str, str]:
    return {
        "content-length": str(size),
        "content-type": "application/octet-stream",
        "accept-ranges": "bytes",
        "etag": f'"{digest}"',
        "cache-control": _FOR_EVER,
    }


def blob_response(digest: str, opened: Opened) -> Response:
    span = opened.span
    headers = blob_headers(digest, span.length)
    if span.is_part:
        headers["content-range"] = f"bytes {span.start}-{span.end - 1}/{span.size}"
    if span.length <= PIECE:
        return Response(b"".join(opened.pieces), span.status, headers)
    return StreamingResponse(_in_threads(opened.pieces), span.status, headers)


def stream_response(stream: Stream) -> Response:
    """Several blobs as one body."""
    headers = {"content-length": str(stream.length), "content-type": "application/octet-stream"}
    return StreamingResponse(stream.pieces, 200, headers)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def install_handlers(app: Starlette) -> None:
    app.add_exception_handler(SlapError, _told)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _incident)


def answer(error: SlapError) -> Response:
    response = in_json(error.document().model_dump_json().encode(), error.http_status)
    if isinstance(error, BadRange):
        response.headers["content-range"] = f"bytes */{error.size}"
    return response


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, SlapError)
    return answer(error)


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    if error.status_code in (404, 405):
        return answer(NotFound(f"The cache has no {where}.", "", "Its paths are in docs/reference/cache-server.md."))
    return answer(InvalidInput(f"{where} failed.", str(error.detail)))


async def _gone(request: Request, error: Exception) -> Response:
    log.info("The client of %s %s went away.", request.method, request.url.path)
    return Response(status_code=400)


async def _incident(request: Request, error: Exception) -> Response:
    incident = secrets.token_hex(4)
    log.error("Incident %s in %s %s", incident, request.method, request.url.path, exc_info=error)
    return answer(SlapError("The cache failed.", f"Incident {incident}.", "Its log says more under that number."))
