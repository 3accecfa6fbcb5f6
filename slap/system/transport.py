"""HTTP calls to our own services, by the standard library: each command that is typed pays for what it imports."""

import http.client
import select
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from slap.model.errors import InvalidInput, SlapError, Unauthenticated, Unreachable


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes


class Transport(Protocol):
    """Sends one request and returns what came back, whatever its status; raises Unreachable when nothing did."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply: ...


@dataclass(frozen=True)
class Tls:
    """By what a server is known to us (a file of authorities; None: those of the system), and we to the server."""

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None  # when it is not in the file of the certificate
    is_checked: bool = True  # not for a server whose answer proves itself: nothing secret may be sent to it

    def context(self) -> ssl.SSLContext:
        """Raises InvalidInput for files of no use."""
        try:
            context = ssl.create_default_context(cafile=self.authority)
            if not self.is_checked:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(str(path) for path in (self.authority, self.certificate, self.key) if path)
            raise InvalidInput(
                f"Certificates cannot be read: {names}.", error.strerror or str(error), "Check these files."
            ) from error
        return context


class HttpTransport:
    """Keeps a connection open between requests to one server. Use one per thread. No proxy is ever asked.

    An answer of more than `max_bytes` counts as none.
    """

    def __init__(self, tls: Tls | None = None, max_bytes: int | None = None) -> None:
        self._tls = tls or Tls()
        self._max_bytes = max_bytes
        self._server = ""
        self._connection: http.client.HTTPConnection | None = None

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        parts = urlsplit(url)
        try:
            return self._exchange(parts, method, headers, body, timeout)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise _why(url.split("?")[0], error, self._tls) from error

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
        reply = Reply(answer.status, self._read(answer))
        if answer.will_close:
            self.close()
        return reply

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        if self._max_bytes is None:
            return answer.read()
        body = answer.read(self._max_bytes + 1)
        if len(body) > self._max_bytes:
            raise ValueError(f"The answer has more than {self._max_bytes} bytes.")
        return body

    def _connected(self, parts: SplitResult, timeout: float) -> http.client.HTTPConnection:
        server = f"{parts.scheme}://{parts.netloc}"
        if self._connection is None or server != self._server or _was_dropped(self._connection):
            self.close()
            self._connection, self._server = _connection(parts, self._tls), server
        self._connection.timeout = timeout
        if self._connection.sock:
            self._connection.sock.settimeout(timeout)
        return self._connection


def _connection(parts: SplitResult, tls: Tls) -> http.client.HTTPConnection:
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("It is not an http or https URL.")
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname, parts.port, context=tls.context())
    return http.client.HTTPConnection(parts.hostname, parts.port)


def _why(url: str, error: Exception, tls: Tls) -> SlapError:
    """What a failed request means to whoever sent it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreachable(
            f"The server at {url} is not trusted.",
            error.verify_message,
            f"Its certificate is checked against {tls.authority or 'the authorities of this system'}, and its name against "
            "the URL. Correct the URL, or name the authority's file as master_ca_file.",
        )
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "") and tls.certificate:
        return Unauthenticated(
            f"The server at {url} refuses the certificate {tls.certificate}.",
            f"{(error.reason or '').replace('_', ' ').lower()}",
            "It has expired, or is of another authority. Nodes: have a user type `slapos computer token COMPUTER`, then "
            "`slapos node register NAME --token-file FILE`.",
        )
    return Unreachable(
        f"No answer from {url}.",
        str(error) or type(error).__name__,
        "Check that the master runs and that its URL is right.",
    )


def _was_dropped(connection: http.client.HTTPConnection) -> bool:
    """A server that restarted, or tired of an idle connection, has closed it; a request sent there would be lost."""
    return connection.sock is not None and bool(select.select([connection.sock], [], [], 0)[0])
