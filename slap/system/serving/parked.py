"""Requests that wait for news without a task of their own.

An application that has nothing to answer yet parks its request and returns. What is left is the request at its
connection: no task, no coroutine, no response. To resume it runs the application again with the same request, which finds
out anew who calls and what there is to answer, as if it had just come.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_PARK, _RECEIVED_AT = "slap.park", "slap.received_at"
# More would hold up the other requests that the event loop serves, and take the memory that parking saves.
_MAX_RUNNING = 16


class Waiter(Protocol):
    """Who decides when a parked request is resumed."""

    def on_parked(self, connection: "ParkingProtocol") -> None:
        """The application has returned: from now on the request may be resumed, once."""

    def on_disconnect(self) -> None:
        """The client is gone, and its request with it."""


class ParkingProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, whose requests can be parked. A connection runs or parks one request at a time."""

    # Slots: with more than 30 attributes of its own an object costs another kilobyte.
    __slots__ = ("_running", "_waiter")

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._waiter: Waiter | None = None
        self._running: RequestResponseCycle

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope).update({_PARK: self._park, _RECEIVED_AT: self.loop.time()})

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._waiter:
            self._waiter.on_disconnect()
            self._waiter = None

    def resume(self, on_end: Callable[[], None]) -> None:
        """Run the parked request again; `on_end` is called when that is over, at once for a client that is gone."""
        if self._waiter is None:
            on_end()
            return
        self._waiter = None
        self._running.disconnected = False
        self._running.on_response = self.on_response_complete
        self._start_asgi_task(self._running, partial(_run, self.app, on_end))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, cast(Any, partial(_run_on_copy, app)))

    def _park(self, waiter: Waiter) -> None:
        self._running.disconnected = True  # so uvicorn does not miss a response of this run
        task = asyncio.current_task()
        assert task
        task.add_done_callback(lambda _: self._hand_over(waiter))

    def _hand_over(self, waiter: Waiter) -> None:
        if self.transport.is_closing():
            waiter.on_disconnect()
        else:
            self._waiter = waiter
            waiter.on_parked(self)


class ResumeQueue:
    """Parked requests that are to run again: some at a time, and in turns for each of those whom they belong to."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[ParkingProtocol]] = {}
        self._running = 0

    def add(self, whose: str, connection: ParkingProtocol) -> None:
        self._waiting.setdefault(whose, deque()).append(connection)
        self._run()

    def _run(self) -> None:
        while self._waiting and self._running < _MAX_RUNNING:
            whose = next(iter(self._waiting))
            connections = self._waiting.pop(whose)
            self._running += 1
            connections.popleft().resume(self._end)
            if connections:
                self._waiting[whose] = connections  # its next turn is after all others

    def _end(self) -> None:
        self._running -= 1
        asyncio.get_running_loop().call_soon(self._run)


def park(scope: Scope, waiter: Waiter) -> None:
    """Park the request that is being run. The application returns without a response."""
    scope[_PARK](waiter)


def received_at(scope: Scope) -> float:
    """When the head of a request came, on the clock of the event loop: the same in each of its runs."""
    return float(scope[_RECEIVED_AT])


def _run_on_copy(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Frameworks write into the scope: what a parked request runs with again is what came."""
    return app({**scope}, receive, send)


async def _run(app: ASGIApp, on_end: Callable[[], None], scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await app(scope, receive, send)
    finally:
        on_end()
