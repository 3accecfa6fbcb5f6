"""The busiest request past the framework: orders are repeated all day, and routing one costs more than answering it.

The route in the application says what it takes and answers, and answers whatever is not plain here; the service that is
called, the errors and the documents are the same.
"""

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from slap.master.http.call import caller_of
from slap.master.http.failure import malformed, told
from slap.model.errors import SlapError
from slap.model.instance import InstanceRequest

ORDERS = "/api/v1/instances"
# A larger one takes the long way, on which bodies are limited.
_LARGEST = 256 * 1024


class ShortCut:
    """Answers POST /api/v1/instances itself, and gives all else to the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != ORDERS or not _is_plain(Request(scope)):
            await self._app(scope, receive, send)
            return
        response = await _answer(Request(scope, receive))
        await response(scope, receive, send)


def _is_plain(request: Request) -> bool:
    length = request.headers.get("content-length", "")
    return request.method == "POST" and length.isdecimal() and int(length) <= _LARGEST


async def _answer(request: Request) -> Response:
    services = request.app.state.services
    try:
        caller = await caller_of(request, services)
        order = InstanceRequest.model_validate_json(await request.body())
        instance = await services.orders.request(caller, order)
    except SlapError as error:
        return await told(request, error)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_context=False)]
        return await malformed(request, RequestValidationError(found))
    return Response(instance.model_dump_json(), media_type="application/json")
