"""The busiest requests past the framework: orders are repeated all day, each node polls for its desired state and
reports, and who waits for an instance follows its tree. Routing one of these costs more than answering it.

The routes in the application say what they take and answer, and answer whatever is not plain here; the services that
are called, the errors and the documents are the same.
"""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

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
from slap.model.node import NodeReport
from slap.system.serving.body import announced_size

ORDERS = "/api/v1/instances"
# A larger one takes the long way, on which bodies are limited.
_LARGEST = 256 * 1024
_STATE = re.compile(r"/api/v1/computers/([A-Za-z0-9._@+-]+)/state")
_REPORTS = re.compile(r"/api/v1/computers/([A-Za-z0-9._@+-]+)/reports")
_TREE = re.compile(r"/api/v1/instances/([A-Za-z0-9._@+-]+)/tree")
_POLL = re.compile(rb"since=([0-9]{1,18})&wait=([0-9]{1,2}(?:\.[0-9]{1,9})?)(?:&incarnation=([0-9a-f]{0,64}))?")


class _Poll(NamedTuple):
    """What a request says of how long to wait for what."""

    since: int
    wait: float
    incarnation: str | None


class ShortCut:
    """Answers plain requests to these paths itself, and gives all else to the application."""

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
    path = scope["path"]
    if scope["method"] == "POST" and _is_small(scope):
        reported = _REPORTS.fullmatch(path)
        return _order if path == ORDERS else reported and partial(_report, reported[1])
    if scope["method"] == "GET" and path.endswith(("/state", "/tree")):
        read, found = (_state, _STATE.fullmatch(path)) if path.endswith("/state") else (_tree, _TREE.fullmatch(path))
        asked = _POLL.fullmatch(scope["query_string"])
        if found and asked and float(asked[2]) <= LONGEST_WAIT:
            incarnation = None if asked[3] is None else asked[3].decode()
            return partial(read, found[1], _Poll(int(asked[1]), float(asked[2]), incarnation))
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
        return await _malformed(request, error)
    return Response(instance.model_dump_json(), media_type="application/json")


async def _report(guid: str, request: Request, services: Services) -> Response:
    node = await as_node(await call_of(request), guid)
    try:
        report = NodeReport.model_validate_json(await request.body())
    except ValidationError as error:
        return await _malformed(request, error)
    await services.reports.report(node, guid, report)
    return Response(b"{}", media_type="application/json")


async def _state(guid: str, asked: _Poll, request: Request, services: Services) -> Response:
    node, states = await as_node(await call_of(request), guid), services.states
    read = states.desired_state
    return await poll(request, node, asked.wait, lambda left: read(node, guid, asked.since, left, asked.incarnation))


async def _tree(root: str, asked: _Poll, request: Request, services: Services) -> Response:
    caller, follow = await caller_of(request, services), services.orders.follow
    return await poll(
        request, caller, asked.wait, lambda left: follow(caller, root, asked.since, left, asked.incarnation)
    )


async def _malformed(request: Request, error: ValidationError) -> Response:
    found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_context=False)]
    return await malformed(request, RequestValidationError(found))
