"""The busiest requests past the framework: orders are repeated all day and each node polls for its desired state, and
routing one costs more than answering it.

The routes in the application say what they take and answer, and answer whatever is not plain here; the services that
are called, the errors and the documents are the same.
"""

import re
from collections.abc import Awaitable, Callable

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from slap.master.api.call import Services, as_node, call_of, caller_of
from slap.master.api.errors import malformed, told
from slap.master.api.long_poll import poll
from slap.master.database.hub import LONGEST_WAIT
from slap.model.errors import SlapError
from slap.model.instance import InstanceRequest
from slap.system.serving.body import announced_size

ORDERS = "/api/v1/instances"
# A larger one takes the long way, on which bodies are limited.
_LARGEST = 256 * 1024
_STATE = re.compile(r"/api/v1/computers/([A-Za-z0-9._@+-]+)/state")
_POLL = re.compile(rb"since=([0-9]{1,18})&wait=([0-9]{1,2}(?:\.[0-9]{1,9})?)(?:&incarnation=([0-9a-f]{0,64}))?")


class ShortCut:
    """Answers plain POST /api/v1/instances and GET /api/v1/computers/{guid}/state itself, and gives all else to the
    application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _answer_for(scope) if scope["type"] == "http" else None
        if answer is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await answer(request, request.app.state.services)
        except SlapError as error:
            response = await told(request, error)
        await response(scope, receive, send)


def _answer_for(scope: Scope) -> Callable[[Request, Services], Awaitable[Response]] | None:
    if scope["method"] == "POST":
        return _order if scope["path"] == ORDERS and _is_small(scope) else None
    if scope["method"] == "GET" and scope["path"].endswith("/state"):
        polled, asked = _STATE.fullmatch(scope["path"]), _POLL.fullmatch(scope["query_string"])
        if polled and asked and float(asked[2]) <= LONGEST_WAIT:
            return lambda request, _: _state(request, polled[1], asked)
    return None


def _is_small(scope: Scope) -> bool:
    size = announced_size(scope)
    return size is not None and 0 < size <= _LARGEST


async def _order(request: Request, services: Services) -> Response:
    caller = await caller_of(request, services)
    try:
        order = InstanceRequest.model_validate_json(await request.body())
        instance = await services.orders.request(caller, order)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_context=False)]
        return await malformed(request, RequestValidationError(found))
    return Response(instance.model_dump_json(), media_type="application/json")


async def _state(request: Request, guid: str, asked: re.Match[bytes]) -> Response:
    call = await call_of(request)
    node, states = await as_node(call, guid), call.services.states
    since, wait, incarnation = int(asked[1]), float(asked[2]), None if asked[3] is None else asked[3].decode()
    return await poll(request, node, wait, lambda left: states.desired_state(node, guid, since, left, incarnation))
