"""HTTP to servers that may be slow or lie: answers are bounded, told as they arrive, and cut off from outside when late."""

import http.client
import select
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import unquote, urlsplit

from slap.model.errors import SlapError, Unreachable
from slap.system.network.connect import dial
from slap.system.transport import Tls

_PIECE = 1 << 18
# Of an answer that is read as an error's words.
_WORDS = 4096
# Seconds for all that a connection takes: the name, each of its addresses, and TLS.
_CONNECTING = 4.0


class TooMuch(Unreachable):
    """A server sends more than it may."""


@dataclass(frozen=True)
class Ask:
    """A request. Of its answer at most `limit` bytes are taken: more is TooMuch."""

    method: str
    url: str
    body: bytes | None = None
    limit: int = 1 << 20
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """`body` is empty where the caller took the bytes as they came."""

    status: int
    body: bytes


class Pace:
    """Whether bytes come fast enough: so many within each span of some seconds."""

    def __init__(self, seconds: float, bytes_a_second: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._least = int(seconds * bytes_a_second)
        self._monotonic = monotonic
        self.restart()

    def restart(self) -> None:
        self._since, self._arrived = self._monotonic(), 0

    def arrived(self, size: int) -> None:
        self._arrived += size
        if self._arrived >= self._least:
            self.restart()

    def is_late(self) -> bool:
        return self._monotonic() - self._since > self._seconds

    @property
    def rate(self) -> float:
        """Bytes a second in the span that goes on."""
        return self._arrived / max(self._monotonic() - self._since, 1e-6)


class Line:
    """A connection that is kept between requests to one server. For one thread; another one may `cut` it, for good."""

    def __init__(self, tls: Tls, timeout: float) -> None:
        self._tls = tls
        self._timeout = timeout  # seconds, of each single operation over a connection
        self._server = ""
        self._connection: http.client.HTTPConnection | None = None
        self._coming: Future[http.client.HTTPConnection] = Future()
        self._is_cut = threading.Event()

    def ask(self, ask: Ask, take: Callable[[bytes], None] | None = None) -> Answer:
        """Send a request. The body of a good answer goes to `take` piece by piece, when that is given.

        Raises Unreachable.
        """
        is_kept = self._connection is not None
        try:
            return self._answer(ask, take)
        except http.client.RemoteDisconnected as error:
            if not is_kept or self._is_cut.is_set():
                raise _unreachable(ask, error) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise _unreachable(ask, error) from error
        except SlapError:
            self.close()
            raise
        self.close()  # the server was tired of the idle connection
        return self.ask(ask, take)

    def cut(self) -> None:
        """Break off what goes on, from another thread; nothing is asked over this line any more."""
        self._is_cut.set()
        self._coming.cancel()
        connection = self._connection
        sock = connection.sock if connection else None
        if sock:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _answer(self, ask: Ask, take: Callable[[bytes], None] | None) -> Answer:
        parts = urlsplit(ask.url)
        connection = self._connected(f"{parts.scheme}://{parts.netloc}")
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request(ask.method, path, ask.body, {**_authorization(ask.url), **ask.headers})
        with connection.getresponse() as response:
            answer = _read(response, ask, take)
            if response.will_close or not _is_read(response):
                self.close()
        return answer

    def _connected(self, server: str) -> http.client.HTTPConnection:
        if self._is_cut.is_set():
            raise ConnectionAbortedError("it was cut off")
        if self._connection is None or server != self._server or _was_dropped(self._connection):
            self.close()
            self._connection, self._server = self._connect(server), server
            if self._is_cut.is_set():
                raise ConnectionAbortedError("it was cut off")
        return self._connection

    def _connect(self, server: str) -> http.client.HTTPConnection:
        """By a thread of its own: a look at a name, or a call that nobody answers, cannot be broken off, but be left."""
        opening = _opening(server, self._tls)
        coming = self._coming = Future()
        if self._is_cut.is_set():  # by somebody who has not seen this one
            coming.cancel()
        threading.Thread(target=_arrive, args=(opening, coming), name="connect", daemon=True).start()
        try:
            connection = coming.result(_CONNECTING)
        except CancelledError:
            raise ConnectionAbortedError("it was cut off") from None
        except TimeoutError:
            coming.cancel()
            raise TimeoutError(f"no connection within {_CONNECTING:.0f} s") from None
        connection.timeout = self._timeout
        connection.sock.settimeout(self._timeout)
        return connection


Opening = Callable[[], http.client.HTTPConnection]


def _opening(server: str, tls: Tls) -> Opening:
    """How a connection is opened; raises ValueError and InvalidInput before anything is."""
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it is not an http or https URL")
    if parts.scheme == "http":
        return partial(_open, parts.hostname, parts.port or 80)
    return partial(_open_tls, parts.hostname, parts.port or 443, tls.context())


def _open(host: str, port: int) -> http.client.HTTPConnection:
    made = http.client.HTTPConnection(host, port)
    made.sock = dial(host, port, _CONNECTING)
    return made


def _open_tls(host: str, port: int, context: ssl.SSLContext) -> http.client.HTTPConnection:
    made = http.client.HTTPSConnection(host, port, context=context)
    made.sock = context.wrap_socket(dial(host, port, _CONNECTING), server_hostname=host)
    return made


def _arrive(opening: Opening, coming: Future[http.client.HTTPConnection]) -> None:
    """Connect, for who may have gone meanwhile."""
    try:
        made = opening()
    except (OSError, ValueError) as error:
        with suppress(InvalidStateError):
            coming.set_exception(error)
        return
    try:
        coming.set_result(made)
    except InvalidStateError:
        made.close()


def _read(response: http.client.HTTPResponse, ask: Ask, take: Callable[[bytes], None] | None) -> Answer:
    is_good = response.status // 100 == 2
    body, size = bytearray(), 0
    limit = ask.limit if is_good else _WORDS
    while piece := response.read1(_PIECE):
        size += len(piece)
        if size > limit:
            if is_good:
                raise TooMuch(f"{_bare(ask.url)} sends too much.", f"It should have at most {limit} bytes.")
            break
        (take if take and is_good else body.extend)(piece)
    if is_good and response.length:  # of what was announced, this much is missing
        raise http.client.IncompleteRead(b"", response.length)
    return Answer(response.status, bytes(body))


def _is_read(response: http.client.HTTPResponse) -> bool:
    """Whether nothing more comes; one of announced length does not count as closed by its last byte alone."""
    return response.isclosed() or response.length == 0


def _authorization(url: str) -> dict[str, str]:
    """A name and a password in the URL, as slapos.cfg may have them."""
    parts = urlsplit(url)
    if not parts.username:
        return {}
    words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(words.encode()).decode()}"}


def _unreachable(ask: Ask, error: Exception) -> SlapError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreachable(f"The server at {_bare(ask.url)} is not trusted.", error.verify_message)
    words = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return Unreachable(f"No answer from {_bare(ask.url)}: {words}.")


def _bare(url: str) -> str:
    """The server of a URL, without what only the server should know."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _was_dropped(connection: http.client.HTTPConnection) -> bool:
    return connection.sock is not None and bool(select.select([connection.sock], [], [], 0)[0])
