"""Every failure as one ErrorDocument: what the caller did, or an incident that the log explains."""

import logging
import secrets

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from slap.master.database.engine import unavailable
from slap.model.errors import Busy, InvalidInput, NotFound, SlapError, TooLarge
from slap.system.serving.connections import count
from slap.system.serving.refusals import Refusal

log = logging.getLogger(__name__)

_MAX_SHOWN_ERRORS = 20
_RETRY_AFTER_SECONDS = "5"


def install_handlers(app: FastAPI) -> None:
    app.add_exception_handler(SlapError, told)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, unrouted)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(Exception, _incident)


def _answer(error: SlapError) -> Response:
    response = Response(error.document().model_dump_json(), error.http_status, media_type="application/json")
    if isinstance(error, Busy):
        response.headers["retry-after"] = _RETRY_AFTER_SECONDS
    return response


async def told(request: Request, error: Exception) -> Response:
    assert isinstance(error, SlapError)
    return _answer(error)


async def malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    count(request.scope, Refusal.INVALID)
    lines = [
        f"{'.'.join(map(str, each['loc'][1:])) or each['loc'][0]}: {each['msg']}"
        for each in error.errors()[:_MAX_SHOWN_ERRORS]
    ]
    where = f"{request.method} {request.url.path}"
    return _answer(InvalidInput(f"{where} was not given what it takes.", "\n".join(lines), "Correct these fields."))


async def unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    if error.status_code in (404, 405):
        return _answer(NotFound(f"The master has no {where}.", "", "Its paths are listed in /api/v1/openapi.json."))
    kind = TooLarge if error.status_code == 413 else InvalidInput
    return _answer(kind(f"{where} failed.", str(error.detail)))


async def _database(request: Request, error: Exception) -> Response:
    log.error("The database failed", exc_info=error)
    return _answer(unavailable(error))


async def _incident(request: Request, error: Exception) -> Response:
    incident = secrets.token_hex(4)
    log.error("Incident %s in %s %s", incident, request.method, request.url.path, exc_info=error)
    return _answer(
        SlapError("The master failed.", f"Incident {incident}.", "Its log says more under the number of the incident.")
    )
