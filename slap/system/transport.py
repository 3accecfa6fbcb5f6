"""HTTP calls to our own services, by the standard library: each command that is typed pays for what it imports."""

import http.client
import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from slap.model.errors import Unreachable


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes


class Transport(Protocol):
    """Sends one request and returns what came back, whatever its status; raises Unreachable when nothing did."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply: ...


class HttpTransport:
    """Keeps a connection open between requests to one server. Use one per thread. No proxy is ever asked."""

    def __init__(self) -> None:
        self._server = ""
        self._connection: http.client.HTTPConnection | None = None

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        parts = urlsplit(url)
        try:
            return self._exchange(parts, method, headers, body, timeout)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Unreachable(
                f"No answer from {url.split('?')[0]}.",
                str(error) or type(error).__name__,
                "Check that the master runs and that its URL is right.",
            ) from error

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _exchange(
        self, parts: SplitResult, method: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Reply:
        connection = self._connected(parts, timeout)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        reply = Reply(answer.status, answer.read())
        if answer.will_close:
            self.close()
        return reply

    def _connected(self, parts: SplitResult, timeout: float) -> http.client.HTTPConnection:
        server = f"{parts.scheme}://{parts.netloc}"
        if self._connection is None or server != self._server or _was_dropped(self._connection):
            self.close()
            self._connection, self._server = _connection(parts), server
        self._connection.timeout = timeout
        if self._connection.sock:
            self._connection.sock.settimeout(timeout)
        return self._connection


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("It is not an http or https URL.")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port)


def _was_dropped(connection: http.client.HTTPConnection) -> bool:
    """A server that restarted, or tired of an idle connection, has closed it; a request sent there would be lost."""
    return connection.sock is not None and bool(select.select([connection.sock], [], [], 0)[0])
