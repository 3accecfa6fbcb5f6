"""Accepting connections: an event loop for uvicorn whose servers count connections before they cost anything.

uvicorn's own server hears of a TLS connection after the handshake, so that silent ones are neither counted nor limited
there. Here a connection is in the table from accept() on. Nothing is made for it before its first byte comes.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any

import uvloop

from slap.system.serving.connections import Connection, ConnectionTable
from slap.system.serving.protocol import LimitedProtocol
from slap.system.serving.refusals import Refusal

_ACCEPTED_AT_ONCE = 16  # then requests that came meanwhile get their turn
_FULL_ERRORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_FULL_PAUSE_SECONDS = 0.1
# TLS handshakes side by side; more connections wait in the kernel. One that takes longer than this gives way.
_HANDSHAKES = 200
_HANDSHAKE_SECONDS = 1.0
_SHUTDOWN_SECONDS = 5.0


class LimitedLoop(uvloop.Loop):
    """An event loop whose TCP servers accept through a ConnectionTable; uvicorn takes it as its `loop`."""

    def __init__(self, table: ConnectionTable) -> None:
        super().__init__()
        self._table = table

    async def create_server(self, factory: Any, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        listener = options.get("sock")
        if listener is None:
            return await super().create_server(factory, *args, **options)
        acceptor = Acceptor(self._table, listener, factory, options.get("ssl"))
        acceptor.start()
        return acceptor


class Acceptor:
    """Accepts the connections of one listening socket, as an asyncio server does."""

    def __init__(
        self,
        table: ConnectionTable,
        listener: socket.socket,
        factory: Callable[[], LimitedProtocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._table = table
        self._listener = listener
        self._factory = factory
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._handshakes: dict[Connection, None] = {}
        self._is_open = False

    def start(self) -> None:
        self._is_open = True
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        self._is_open = False
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Nothing is under way that would have to be waited for."""

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if len(self._handshakes) >= _HANDSHAKES:
                self._pause(_FULL_PAUSE_SECONDS)
                self._close_slow_handshakes()
                return
            try:
                accepted, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._handle_full(error)
                return
            self._start_connection(accepted, address[0])

    def _handle_full(self, error: OSError) -> None:
        """Out of descriptors: one connection goes, and the new one is accepted a moment later."""
        if error.errno not in _FULL_ERRORS:
            raise error
        if not self._table.free_one(Refusal.NO_DESCRIPTORS):
            self._table.count(Refusal.NO_DESCRIPTORS)
        self._pause(_FULL_PAUSE_SECONDS)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listener, self._accept)

    def _close_slow_handshakes(self) -> None:
        oldest_allowed = self._loop.time() - _HANDSHAKE_SECONDS
        for connection in [each for each in self._handshakes if each.opened < oldest_allowed]:
            connection.count(Refusal.FAILED_HANDSHAKE)
            connection.close()

    def _start_connection(self, accepted: socket.socket, address: str) -> None:
        accepted.setblocking(False)
        connection = self._table.admit(address, accepted.close)
        if connection is None:
            accepted.close()
            return
        task = self._loop.create_task(self._connect(connection, accepted))
        connection.close = task.cancel
        task.add_done_callback(lambda done: self._finish(done, connection, accepted))

    def _finish(self, task: "asyncio.Task[None]", connection: Connection, accepted: socket.socket) -> None:
        """Drop a connection that did not get as far as its protocol."""
        self._handshakes.pop(connection, None)
        if task.cancelled() or task.exception() is not None:
            self._table.remove(connection)
            accepted.close()

    async def _connect(self, connection: Connection, accepted: socket.socket) -> None:
        limits = self._table.limits
        if not _has_first_byte(accepted):
            try:
                async with asyncio.timeout(limits.header_seconds):
                    await self._wait_for_first_byte(accepted)
            except TimeoutError:
                if not _has_first_byte(accepted):
                    connection.count(Refusal.SLOW_HEADERS)
                    raise
        if self._tls:
            self._handshakes[connection] = None
        tls_options = {"ssl_handshake_timeout": limits.header_seconds, "ssl_shutdown_timeout": _SHUTDOWN_SECONDS}
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._protocol(connection), accepted, ssl=self._tls, **(tls_options if self._tls else {})
            )
        except (OSError, ssl.SSLError):
            connection.count(Refusal.FAILED_HANDSHAKE)
            raise

    async def _wait_for_first_byte(self, accepted: socket.socket) -> None:
        """Wait until there is something to read, an end included."""
        readable = self._loop.create_future()
        self._loop.add_reader(accepted, _set_done, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(accepted)

    def _protocol(self, connection: Connection) -> LimitedProtocol:
        protocol = self._factory()
        protocol.attach(connection)
        return protocol


def _has_first_byte(accepted: socket.socket) -> bool:
    try:
        accepted.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


def _set_done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
