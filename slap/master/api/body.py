"""The body of a request is read only once the caller is known, and within the limits for that caller."""

from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from slap.master.access.auth import Caller, CallerKind
from slap.master.api.call import caller_of
from slap.master.api.errors import told, unrouted
from slap.master.api.shape import check_json
from slap.model.errors import Busy, SlapError, Unauthenticated
from slap.system.serving.body import (
    BodyRoom,
    announced_size,
    limited,
    once,
    read_body,
    receive_nothing,
    refuse,
    refuse_large,
)
from slap.system.serving.connections import count
from slap.system.serving.limits import BodyLimits
from slap.system.serving.refusals import Refusal

# Whoever has a one-time token, in the body or in a header of its own, needs no other credentials.
_OPEN_PATHS = frozenset(("/api/v1/registrations", "/Person_requestComputer", "/Person_getCertificate"))
_NATIVE = "/api/v1/"
_JSON_RPC = "/slapos."
# Where nodes send what is large: all else is small, also when a node sends it.
_REPORTS = (f"{_NATIVE}computers/", _JSON_RPC, "/useComputer", "/loadComputerConfigurationFromXML")
_WITHOUT_BODY = frozenset(("GET", "HEAD"))


class BodyGate:
    """Lets the application read the bodies of known callers, and small ones where callers register."""

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self._app = app
        self._limits = limits
        self._room = BodyRoom(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY or announced_size(scope) == 0:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            await self._forward(request, receive, send)
        except ClientDisconnect:
            return
        except SlapError as error:
            await (await told(request, error))(scope, receive, send)
        except HTTPException as error:
            await (await unrouted(request, error))(scope, receive, send)

    async def _forward(self, request: Request, receive: Receive, send: Send) -> None:
        caller = await _known_caller(request)
        if caller is None and request.scope["path"] not in _OPEN_PATHS:
            count(request.scope, Refusal.UNKNOWN_BODY)
            await self._app(request.scope, receive_nothing, send)  # it answers 401 in the form of its protocol
            return
        limit = self._limit(caller, request.scope["path"])
        announced = announced_size(request.scope)
        size = limit if announced is None else announced
        if size > limit:
            count(request.scope, Refusal.LARGE_BODY)
            if _is_native(request):
                await refuse_large(limit)
            await self._app(request.scope, partial(refuse_large, limit), send)  # it answers 413
            return
        owner = caller.owner if caller else ""
        try:
            await self._room.take(owner, size)
        except Busy:
            count(request.scope, Refusal.NO_BODY_ROOM)
            raise
        try:
            is_json = request.scope["path"].startswith((_NATIVE, _JSON_RPC))
            receive = await self._checked_json(request.scope, receive, limit) if is_json else limited(receive, limit)
            await self._app(request.scope, receive, send)
        finally:
            self._room.give(owner, size)

    async def _checked_json(self, scope: Scope, receive: Receive, limit: int) -> Receive:
        body = await read_body(receive, limit)
        try:
            check_json(body, self._limits.json_values)
        except SlapError as error:
            count(scope, Refusal.MANY_VALUES)
            if scope["path"].startswith(_NATIVE):
                raise
            return partial(refuse, error)  # the application answers in the form of its protocol
        return once(body, receive)

    def _limit(self, caller: Caller | None, path: str) -> int:
        if caller is None:
            return self._limits.unknown_body
        is_node = caller.kind is CallerKind.COMPUTER or caller.is_local
        return self._limits.report_body if is_node and path.startswith(_REPORTS) else self._limits.request_body


async def _known_caller(request: Request) -> Caller | None:
    """None where an unknown caller may be answered, or is to be refused, by the application."""
    try:
        return await caller_of(request, request.app.state.services, for_partition=True)
    except Unauthenticated:
        if not _is_native(request) or request.scope["path"] in _OPEN_PATHS:
            return None
        count(request.scope, Refusal.UNKNOWN_BODY)
        raise


def _is_native(request: Request) -> bool:
    """Whether a refusal is an ErrorDocument. It is made here then, for a twentieth of what the application takes."""
    return bool(request.scope["path"].startswith(_NATIVE))
