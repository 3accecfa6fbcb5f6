"""JSON-RPC as SlapOS has it, POST /slapos.<verb>.v0.<name>, over the same services as /api/v1.

An application of its own within the master's: its failures have their own form, {status, type, title}.
"""

import logging
import secrets
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from slap.master.api.call import call_for_partition, call_of
from slap.master.database.engine import unavailable
from slap.master.jsonrpc import certificate, computer, instance
from slap.master.jsonrpc.call import Method, RpcCall
from slap.master.service.impersonation import as_partition
from slap.model.errors import CannotBePlaced, NotFound, SlapError, Unreachable
from slap.model.values import escape_controls

log = logging.getLogger(__name__)

METHODS: dict[str, Method] = {
    **computer.METHODS,
    **instance.METHODS,
    **certificate.METHODS,
}

_MAX_SHOWN_ERRORS = 20
_LARGEST_BODY = 4 << 20
_JSON = "application/json"
# SlapOS has its own opinion of these: what is not there is not yours either.
_STATUS: dict[type[SlapError], int] = {NotFound: 403, CannotBePlaced: 403, Unreachable: 523}
_PHRASES = {523: "Connection Error"}


def install_jsonrpc(app: FastAPI) -> None:
    """Have an application answer the methods."""
    inner = Starlette(routes=[Route("/slapos.{name}", _answer, methods=["POST"])], exception_handlers=_HANDLERS)
    inner.state = app.state
    # Given as an application, not as a function: all methods of HTTP arrive there, and are refused in its form.
    app.router.routes.append(Route("/slapos.{name}", inner, include_in_schema=False))


async def _answer(request: Request) -> Response:
    method = METHODS.get(request.url.path.removeprefix("/"))
    if method is None:
        raise HTTPException(404, f"The master has no method {request.url.path}.")
    _check_headers(request)
    call = await _call(request)
    asked = method.takes.model_validate_json(await _body(request))
    return JSONResponse(await method.does(call, asked))


def _check_headers(request: Request) -> None:
    wanted = [each.partition(";")[0].strip() for each in request.headers.get("accept", "*/*").split(",")]
    if not {_JSON, "application/*", "*/*"} & set(wanted):
        raise HTTPException(406, f"The answer is {_JSON}.")
    # What a page of another site may have a browser post is never of this type.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
        raise HTTPException(415, f"The body is {_JSON}.")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise HTTPException(413, f"The body is larger than {_LARGEST_BODY} bytes.")
    return bytes(body)


async def _call(request: Request) -> RpcCall:
    spoken_for = _partition_named(request.headers.get("authorization", ""))
    known = await (call_for_partition if spoken_for else call_of)(request)
    caller = await as_partition(known.store, known.caller, *spoken_for) if spoken_for else known.caller
    served = request.app.state.served
    return RpcCall(caller, known.caller, known.services, served, str(request.base_url), known.read_release)


def _partition_named(authorization: str) -> tuple[str, str] | None:
    """The computer and partition that a call is said to come from; whether it may is checked apart from this."""
    scheme, _, rest = authorization.partition(" ")
    named = dict(pair.strip().partition("=")[::2] for pair in rest.split(","))
    if scheme != "X-SlapPartition":
        return None
    return named.get("computer_id", ""), named.get("computer_partition_id", "")


def _failure(status: int, title: str) -> Response:
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    return JSONResponse({"status": status, "type": phrase, "title": title}, status)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, SlapError)
    return _failure(_STATUS.get(type(error), error.http_status), str(error))


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    lines = [
        f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors()[:_MAX_SHOWN_ERRORS]
    ]
    return _failure(400, escape_controls("\n".join(lines)))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _failure(error.status_code, error.detail)


async def _database(request: Request, error: Exception) -> Response:
    log.error("The database failed", exc_info=error)
    return await _told(request, unavailable(error))


async def _incident(request: Request, error: Exception) -> Response:
    incident = secrets.token_hex(4)
    log.error("Incident %s in %s", incident, request.url.path, exc_info=error)
    return _failure(500, f"The master failed: its log says more of incident {incident}.")


_HANDLERS: dict[Any, Any] = {
    SlapError: _told,
    ValidationError: _malformed,
    HTTPException: _refused,
    DBAPIError: _database,
    Exception: _incident,
}
