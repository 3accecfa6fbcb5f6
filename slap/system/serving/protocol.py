"""The HTTP protocol of our servers: uvicorn's, with limits on time, headers, pipelined requests and unread answers."""

from asyncio import TimerHandle
from typing import Any, cast

from starlette.types import Scope

from slap.system.serving.connections import SCOPE_KEY, Connection, connection_of
from slap.system.serving.peer import PeerProtocol
from slap.system.serving.refusals import Refusal

_MAX_HEADERS = 200  # fields
_MAX_PIPELINED = 16  # requests that wait for the answers to those before
# Bytes of a chunked body besides its content: sizes and extensions of chunks, trailers.
_MAX_OVERHEAD_FACTOR = 8
_GRACE_SECONDS = 0.1
_REST_SECONDS = 10.0  # for what is left of a body when its answer was given


class LimitedProtocol(PeerProtocol):
    """One connection, whose requests are to come, and whose answers are to be taken, in time.

    `attach` comes before `connection_made`.
    """

    __slots__ = (
        "_body_in_window",
        "_body_received",
        "_connection",
        "_has_write_progress",
        "_is_in_headers",
        "_is_receiving",
        "_is_refused",
        "_limits",
        "_received",
        "_timer",
        "_write_timer",
    )

    def attach(self, connection: Connection) -> None:
        self._connection = connection
        self._is_refused = False
        self._limits = connection.table.limits

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer: TimerHandle | None = None
        self._write_timer: TimerHandle | None = None
        self._has_write_progress = False
        self._is_in_headers = False
        self._is_receiving = False
        self._reset_counts()
        self._connection.close = transport.abort
        elapsed = self.loop.time() - self._connection.opened
        self._set_timer(max(0.0, self._limits.header_seconds - elapsed), Refusal.SLOW_HEADERS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        if self._write_timer:
            self._write_timer.cancel()
        self._connection.table.remove(self._connection)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        if self._received > self._limits.header_bytes + (1 + _MAX_OVERHEAD_FACTOR) * self._body_received:
            self._abort(Refusal.LARGE_HEADERS)
        elif self._timer is None and self._is_in_headers:
            self._set_timer(self._limits.header_seconds, Refusal.SLOW_HEADERS)
        elif self._timer is None and self._is_receiving:
            self._watch_body()

    def on_message_begin(self) -> None:
        self._is_in_headers = True
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[SCOPE_KEY] = self._connection

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_headers:
            return  # of a trailer, which nobody reads
        super().on_header(name, value)
        if len(self.headers) > _MAX_HEADERS:
            self._refuse_message(Refusal.LARGE_HEADERS)

    def on_headers_complete(self) -> None:
        self._cancel_timer()
        if len(self.pipeline) >= _MAX_PIPELINED:
            self._refuse_message(Refusal.PIPELINED)
        self._is_in_headers = False
        self._is_receiving = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_received += len(body)
        self._body_in_window += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_receiving = False
        self._reset_counts()
        self._cancel_timer()
        super().on_message_complete()
        if not self.cycle.response_complete:
            self._connection.table.set_waiting(self._connection, False)
        elif not self._connection.caller:  # the rest of what was refused: nothing after it is waited for
            self.transport.close()

    def on_response_complete(self) -> None:
        self._connection.table.set_waiting(self._connection, not self.pipeline)
        if self._is_receiving:
            # A client may read the answer only when it has sent all of its request.
            self.cycle.body = bytearray()
            self._set_timer(_REST_SECONDS, Refusal.SLOW_BODY)
        super().on_response_complete()
        self._watch_writes()

    def send_400_response(self, msg: str) -> None:
        if not self._is_refused:
            self._connection.count(Refusal.MALFORMED)
        super().send_400_response(msg)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writes()

    def resume_writing(self) -> None:
        self._has_write_progress = True
        super().resume_writing()

    def _reset_counts(self) -> None:
        self._received = self._body_received = self._body_in_window = 0

    def _refuse_message(self, refusal: Refusal) -> None:
        """End the parsing of a request; uvicorn answers 400 and closes the connection."""
        self._is_refused = True
        self._connection.count(refusal)
        raise ValueError(refusal)

    def _watch_body(self) -> None:
        """Every `body_seconds`, unless it is us who do not read, so many bytes have to have come."""
        self._body_in_window = 0
        self._timer = self.loop.call_later(self._limits.body_seconds, self._check_body, self.flow.read_paused)

    def _check_body(self, was_paused: bool) -> None:
        is_slow = self._body_in_window < self._limits.body_rate * self._limits.body_seconds
        if is_slow and not was_paused and not self.flow.read_paused:
            self._abort(Refusal.SLOW_BODY)
        else:
            self._watch_body()

    def _watch_writes(self) -> None:
        """Every `body_seconds`, while there is something to be sent, so many bytes have to have gone."""
        size = self.transport.get_write_buffer_size()
        if size != self._connection.unsent:
            self._connection.table.set_unsent(self._connection, size)
        if size and self._write_timer is None:
            self._has_write_progress = False
            self._write_timer = self.loop.call_later(self._limits.body_seconds, self._check_writes, size)

    def _check_writes(self, size_before: int) -> None:
        self._write_timer = None
        sent = size_before - self.transport.get_write_buffer_size()
        if self._has_write_progress or sent >= min(size_before, self._limits.body_rate * self._limits.body_seconds):
            self._watch_writes()
        else:
            self._abort(Refusal.SLOW_READER)

    def _set_timer(self, seconds: float, refusal: Refusal) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, self._expire, refusal)

    def _expire(self, refusal: Refusal) -> None:
        """What came while the event loop was busy is read before the connection is closed."""
        self._timer = self.loop.call_later(_GRACE_SECONDS, self._abort, refusal)

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _abort(self, refusal: Refusal) -> None:
        self._connection.count(refusal)
        self.transport.abort()


def abort(scope: Scope) -> None:
    """End the connection that a request came by, without waiting for what the other end has not read yet."""
    if connection := connection_of(scope):
        connection.close()
