"""Every failure as one ErrorDocument: what the caller did, or an incident that the log explains."""

import logging
import secrets

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from slap.master.database.engine import unavailable
from slap.model.errors import InvalidInput, NotFound, SlapError

log = logging.getLogger(__name__)


def install_handlers(app: FastAPI) -> None:
    app.add_exception_handler(SlapError, told)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(Exception, _incident)


def _answer(error: SlapError) -> Response:
    return Response(error.document().model_dump_json(), error.http_status, media_type="application/json")


async def told(request: Request, error: Exception) -> Response:
    assert isinstance(error, SlapError)
    return _answer(error)


async def malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    lines = [f"{'.'.join(map(str, each['loc'][1:])) or each['loc'][0]}: {each['msg']}" for each in error.errors()]
    where = f"{request.method} {request.url.path}"
    return _answer(InvalidInput(f"{where} was not given what it takes.", "\n".join(lines), "Correct these fields."))


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    if error.status_code in (404, 405):
        return _answer(NotFound(f"The master has no {where}.", "", "Its paths are listed in /api/v1/openapi.json."))
    return _answer(InvalidInput(f"{where} failed.", str(error.detail)))


async def _database(request: Request, error: Exception) -> Response:
    log.error("The database failed", exc_info=error)
    return _answer(unavailable(error))


async def _incident(request: Request, error: Exception) -> Response:
    incident = secrets.token_hex(4)
    log.error("Incident %s in %s %s", incident, request.method, request.url.path, exc_info=error)
    return _answer(
        SlapError("The master failed.", f"Incident {incident}.", "Its log says more under the number of the incident.")
    )
