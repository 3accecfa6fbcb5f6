"""HATEOAS as the clients of SlapOS use it: a root that says where to search and to read, over the services of /api/v1.

An application of its own within the master's: its failures are plain text.
"""

import logging
import secrets
from typing import Any

from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from slap.master.access.auth import Caller, CallerKind
from slap.master.api.call import Call, call_of
from slap.master.database.engine import unavailable
from slap.master.hateoas import document as documents
from slap.master.hateoas.find import document, search
from slap.master.hateoas.query import parse
from slap.model.certificate import RegistrationTokenRequest
from slap.model.errors import InvalidInput, SlapError
from slap.model.values import MAX_LINE_LENGTH, unstorable_reason

log = logging.getLogger(__name__)

PATH = "/hateoas"
_HERE = PATH + "{rest:path}"
_TOKEN = "computer_module/Base_getComputerToken"


def install_hateoas(app: FastAPI) -> None:
    """Have an application answer below PATH."""
    inner = Starlette(routes=[Route(_HERE, _answer, methods=["GET"])], exception_handlers=_HANDLERS)
    inner.state = app.state
    app.router.routes.append(Route(_HERE, inner, include_in_schema=False))


async def _answer(request: Request) -> Response:
    call = await call_of(request)
    name = request.path_params["rest"].strip("/")
    for asked in (name, *(value for _, value in request.query_params.multi_items())):
        if reason := unstorable_reason(asked, MAX_LINE_LENGTH):
            raise InvalidInput("The master cannot look for this.", reason)
    if name == _TOKEN:
        return JSONResponse({"access_token": await _registration_token(call)})
    if name:
        return JSONResponse(await document(call, name))
    return JSONResponse(await _by_mode(call, request))


async def _by_mode(call: Call, request: Request) -> dict[str, Any]:
    asked = request.query_params
    mode = asked.get("mode", "")
    if mode == "search":
        rows = await search(call, parse(asked.get("query", "")))
        return {"_embedded": {"contents": _selected(rows, asked.getlist("select_list"))}}
    if mode == "traverse":
        return await document(call, asked.get("relative_url", ""))
    if mode:
        raise InvalidInput(f"The master does not know the mode {mode[:100]!r}.", "It knows search and traverse.")
    return _root(call.caller, str(request.url.replace(query="")))


def _selected(rows: list[documents.Row], names: list[str]) -> list[documents.Row]:
    """The columns that were asked for; all when none was. Some clients send one list, others a name each."""
    wanted = {each for name in names for each in name.split(",")}
    return [{name: row[name] for name in row if name in wanted} for row in rows] if wanted else rows


def _root(caller: Caller, here: str) -> dict[str, Any]:
    """Clients only follow what begins with the address that they were told, so this one is repeated as it came."""
    return {
        "_links": {
            "self": {"href": here},
            "raw_search": {"href": f"{here}?mode=search{{&query,select_list*}}"},
            "traverse": {"href": f"{here}?mode=traverse{{&relative_url,view}}"},
            "me": {"href": f"urn:jio:get:{_me(caller)}"},
        }
    }


def _me(caller: Caller) -> str:
    modules = {
        CallerKind.USER: documents.PERSONS,
        CallerKind.COMPUTER: documents.COMPUTERS,
        CallerKind.PARTITION: documents.INSTANCES,
    }
    return f"{modules[caller.kind]}/{caller.subject}"


async def _registration_token(call: Call) -> str:
    return (await call.services.registrations.new_token(call.caller, RegistrationTokenRequest())).token


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, SlapError)
    return PlainTextResponse(f"{error}\n", error.http_status)


async def _database(request: Request, error: Exception) -> Response:
    log.error("The database failed", exc_info=error)
    return await _told(request, unavailable(error))


async def _incident(request: Request, error: Exception) -> Response:
    incident = secrets.token_hex(4)
    log.error("Incident %s in %s", incident, request.url.path, exc_info=error)
    return PlainTextResponse(f"The master failed: its log says more of incident {incident}.\n", 500)


_HANDLERS: dict[Any, Any] = {SlapError: _told, DBAPIError: _database, Exception: _incident}
