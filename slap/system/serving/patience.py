"""An HTTP protocol that does not wait for ever: for headers that drip, and for bodies that nobody wants any more."""

from asyncio import TimerHandle
from typing import Any, cast

from starlette.types import Scope

from slap.system.serving.peer import PeerProtocol

_HEADERS_WITHIN = 10.0  # seconds
_LARGEST_HEADERS = 64 * 1024  # bytes
# Seconds for the rest of a body after its answer: a client may read the answer only when it has sent all.
_REST_WITHIN = 10.0
_ABORT = "slap.abort"


class ImpatientProtocol(PeerProtocol):
    """Ends connections whose request is not there in time."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer: TimerHandle | None = None
        self._has_headers = False
        self._head_bytes = 0
        self._is_receiving = False
        self._set_timer(_HEADERS_WITHIN)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_timer(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._has_headers:
            self._head_bytes += len(data)
            if self._timer is None:
                self._set_timer(_HEADERS_WITHIN)
        super().data_received(data)
        if not self._has_headers and self._head_bytes > _LARGEST_HEADERS:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[_ABORT] = self.transport.abort

    def on_headers_complete(self) -> None:
        self._set_timer(None)
        self._has_headers = self._is_receiving = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_receiving = self._has_headers = False
        self._head_bytes = 0
        self._set_timer(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._is_receiving:
            self._set_timer(_REST_WITHIN)
        super().on_response_complete()

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


def abort(scope: Scope) -> None:
    """End the connection that a request came by, without a wait for what the other end has not taken yet."""
    if end := scope.get(_ABORT):
        end()
