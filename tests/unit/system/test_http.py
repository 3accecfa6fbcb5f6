"""Whatever a server does, reading from it ends soon, and with a reason."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from slap.model.errors import NotFound, SlapError, Unreachable
from slap.system.http import fetch_text
from slap.system.transport import HttpTransport

LIMIT = 10_000


class Handler(BaseHTTPRequestHandler):
    """A server of bad manners: one for each path."""

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):  # the client has had enough
            MANNERS[self.path](self)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(409, body + self.headers["X-Test"].encode())

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def endless(self) -> None:
        self.answer(200)
        while True:
            self.wfile.write(b"x" * 1000)

    def dripping(self) -> None:
        self.answer(200)
        while True:
            self.wfile.write(b"x")
            time.sleep(0.05)

    def silent(self) -> None:
        self.rfile.read(1)

    def stuck(self) -> None:
        self.answer(200, b"x")
        self.rfile.read(1)

    def short(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"x")
        self.close_connection = True

    def log_message(self, *args: object) -> None: ...


MANNERS: dict[str, Callable[[Handler], None]] = {
    "/good": lambda handler: handler.answer(200, "é".encode()),
    "/largest": lambda handler: handler.answer(200, b"x" * LIMIT),
    "/moved": lambda handler: handler.answer(302, Location="/good"),
    "/loop": lambda handler: handler.answer(302, Location="/loop"),
    "/to-a-file": lambda handler: handler.answer(302, Location="file:///etc/passwd"),
    "/missing": lambda handler: handler.answer(404),
    "/broken": lambda handler: handler.answer(500),
    "/too-large": lambda handler: handler.answer(200, b"x" * (LIMIT + 1)),
    "/endless": Handler.endless,
    "/dripping": Handler.dripping,
    "/silent": Handler.silent,
    "/stuck": Handler.stuck,
    "/short": Handler.short,
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads, http.block_on_close = True, False
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.mark.parametrize(("path", "text"), [("/good", "é"), ("/moved", "é"), ("/largest", "x" * LIMIT)])
def test_a_document_is_fetched(server: str, path: str, text: str) -> None:
    assert fetch_text(server + path, LIMIT) == text


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ("/missing", NotFound, "404"),
        ("/broken", NotFound, "500"),
        ("/loop", Unreachable, "redirects"),
        ("/to-a-file", Unreachable, "file:///etc/passwd"),
        ("/too-large", Unreachable, "larger than 10000 bytes"),
        ("/endless", Unreachable, "larger than 10000 bytes"),
        ("/short", Unreachable, ""),
    ],
)
def test_bad_manners_end_with_a_reason(server: str, path: str, kind: type[SlapError], reason: str) -> None:
    with pytest.raises(kind) as caught:
        fetch_text(server + path, LIMIT)
    assert server + path in caught.value.brief
    assert reason in caught.value.details


@pytest.mark.parametrize(
    ("path", "reason"), [("/dripping", "within 0.4 seconds"), ("/silent", "timed out"), ("/stuck", "timed out")]
)
def test_who_says_nothing_is_not_waited_for(server: str, path: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        fetch_text(server + path, LIMIT, timeout=0.4)
    assert server + path in caught.value.brief
    assert reason in caught.value.details
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://127.0.0.1/a", "http://", "http://[::1/a", "http://no-such-host.invalid/a"]
)
def test_what_is_no_address_is_unreachable(url: str) -> None:
    with pytest.raises(Unreachable):
        fetch_text(url)


def test_a_refused_connection_is_told_as_such() -> None:
    url = f"http://127.0.0.1:{_closed_port()}/a?token=secret"
    with pytest.raises(Unreachable, match="refused") as caught:
        HttpTransport().send("GET", url, {}, None, 1)
    assert "secret" not in str(caught.value)
    with pytest.raises(Unreachable, match="refused"):
        fetch_text(url)


@pytest.mark.parametrize(("path", "status"), [("/good", 200), ("/missing", 404), ("/moved", 302)])
def test_a_transport_returns_any_answer_and_follows_nothing(server: str, path: str, status: int) -> None:
    assert HttpTransport().send("GET", server + path, {}, None, 5).status == status


def test_a_transport_sends_headers_and_body(server: str) -> None:
    assert HttpTransport().send("POST", server, {"X-Test": "-it"}, b"send", 5).body == b"send-it"


@pytest.mark.parametrize("path", ["/silent", "/stuck", "/short"])
def test_a_master_that_does_not_answer_is_unreachable(server: str, path: str) -> None:
    with pytest.raises(Unreachable, match="No answer from"):
        HttpTransport().send("GET", server + path, {}, None, 0.4)


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
