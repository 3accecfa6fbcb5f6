"""Middleware that closes connections whose client does not read the response, and counts responses."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slap.cache.server.metrics import Metrics
from slap.system.serving.protocol import abort

_MIB = 1 << 20
_MIN_TIMED_BYTES = 256 << 10  # of an answer: what is smaller has as long
_BUFFERED_BYTES = 64 * 1024  # fits into the buffers of a connection: nothing to wait for


class SendTimeout:
    """Gives a client `seconds` for each MiB of a response, then closes the connection."""

    def __init__(self, app: ASGIApp, seconds: float, metrics: Metrics) -> None:
        self._app = app
        self._seconds = seconds
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_in_time(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered(scope["method"], message["status"])
            size = len(message.get("body", b""))
            self._metrics.sent(size)
            if size <= _BUFFERED_BYTES and not message.get("more_body"):
                await send(message)
                return
            try:
                await asyncio.wait_for(send(message), self._seconds * max(size, _MIN_TIMED_BYTES) / _MIB)
            except TimeoutError:
                abort(scope)
                raise

        await self._app(scope, receive, send_in_time)
