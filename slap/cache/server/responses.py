"""Build HTTP responses: streamed blobs, JSON documents, and errors as an ErrorDocument."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from slap.cache.server.blobs import BlobStream, OpenBlob
from slap.cache.server.ranges import BadRange
from slap.cache.storage.storage import PIECE
from slap.model.errors import InvalidInput, NotFound, SlapError

log = logging.getLogger(__name__)

# The bytes of a digest never change: whoever is between may keep them.
_CACHE_CONTROL = "public, max-age=31536000, immutable"


def json_response(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type="application/json")


def blob_headers(digest: str, size: int) -> dict[str, str]:
    return {
        "content-length": str(size),
        "content-type": "application/octet-stream",
        "accept-ranges": "bytes",
        "etag": f'"{digest}"',
        "cache-control": _CACHE_CONTROL,
    }


def blob_response(digest: str, opened: OpenBlob) -> Response:
    span = opened.span
    headers = blob_headers(digest, span.length)
    if span.is_part:
        headers["content-range"] = f"bytes {span.start}-{span.end - 1}/{span.size}"
    if span.length <= PIECE:
        return Response(b"".join(opened.pieces), span.status, headers)
    return StreamingResponse(_in_threads(opened.pieces), span.status, headers)


def stream_response(stream: BlobStream) -> Response:
    """Return several blobs as one body."""
    headers = {"content-length": str(stream.length), "content-type": "application/octet-stream"}
    return StreamingResponse(stream.pieces, 200, headers)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def install_handlers(app: Starlette) -> None:
    app.add_exception_handler(SlapError, _on_slap_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_failure)


def error_response(error: SlapError) -> Response:
    response = json_response(error.document().model_dump_json().encode(), error.http_status)
    if isinstance(error, BadRange):
        response.headers["content-range"] = f"bytes */{error.size}"
    return response


async def _on_slap_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SlapError)
    return error_response(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    if error.status_code in (404, 405):
        return error_response(
            NotFound(f"The cache has no {where}.", "", "Its paths are in docs/reference/cache-server.md.")
        )
    return error_response(InvalidInput(f"{where} failed.", str(error.detail)))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    log.info("The client of %s %s went away.", request.method, request.url.path)
    return Response(status_code=400)


async def _on_failure(request: Request, error: Exception) -> Response:
    incident = secrets.token_hex(4)
    log.error("Incident %s in %s %s", incident, request.method, request.url.path, exc_info=error)
    return error_response(
        SlapError("The cache failed.", f"Incident {incident}.", "Its log says more under that number.")
    )
