"""Long polls: a request that has nothing new to be answered is parked until there is news, or its time is over."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from slap.master.access.auth import Caller
from slap.master.database.hub import NothingNew, Subscription
from slap.master.database.pages import PagedDocument
from slap.system.serving.parked import ParkingProtocol, ResumeQueue, park, received_at

# Their turn in the queue of those whose time is over: they do not hold up news.
_TIME_IS_OVER = ""


async def poll(
    request: Request, caller: Caller, wait: float, read: Callable[[float], Awaitable[BaseModel | PagedDocument]]
) -> Response:
    """The response to a long poll. `read` is given the seconds left, and raises NothingNew while it may wait."""
    services, deadline = request.app.state.services, received_at(request.scope) + wait
    try:
        document: Any = await read(deadline - asyncio.get_running_loop().time())
    except NothingNew as nothing:
        return _Parked(LongPoll(services.resumed, caller.owner, deadline, nothing.subscription))
    if isinstance(document, PagedDocument):
        answer: Response = await services.paged.response(request, services.store, caller.owner, document)
        return answer
    return Response(document.__pydantic_serializer__.to_json(document), media_type="application/json")


class LongPoll:
    """A parked request. It runs again once: at news, in turn with those of other owners, or at its deadline."""

    __slots__ = ("_connection", "_deadline", "_owner", "_queue", "_subscription", "_timer")

    def __init__(self, queue: ResumeQueue, owner: str, deadline: float, subscription: Subscription) -> None:
        self._queue = queue
        self._owner = owner
        self._deadline = deadline
        self._subscription = subscription
        self._timer: asyncio.TimerHandle | None = None
        self._connection: ParkingProtocol | None = None

    def on_parked(self, connection: ParkingProtocol) -> None:
        self._connection = connection
        self._timer = asyncio.get_running_loop().call_at(self._deadline, self._resume, _TIME_IS_OVER)
        self._subscription.call_at_news(partial(self._resume, self._owner))

    def on_disconnect(self) -> None:
        self._subscription.close()
        if self._timer:
            self._timer.cancel()

    def _resume(self, turn: str) -> None:
        self.on_disconnect()
        if self._connection:
            self._queue.add(turn, self._connection)
            self._connection = None


class _Parked(Response):
    """In place of a response that is not known yet."""

    def __init__(self, long_poll: LongPoll) -> None:
        super().__init__()
        self._long_poll = long_poll

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        park(scope, self._long_poll)
