"""A line to a server: one connection for many requests, answers of bounded size, cut from outside."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from slap.model.errors import Unreachable
from slap.system.network.http_connection import Answer, Ask, Line, TooMuch
from slap.system.transport import Tls
from tests.unit.system.unanswered import dropping, mute

Place = AbstractContextManager[int]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.peers.append(self.client_address[1])
        kind, _, size = self.path.strip("/").partition("/")
        getattr(self, f"_{kind}")(b"x" * int(size or 0))

    def _plain(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _missing(self, body: bytes) -> None:
        self._plain(body, 404)

    def _chunked(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in filter(None, (body[:100], body[100:])):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _short(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + 1))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _slow(self, body: bytes) -> None:
        time.sleep(5)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.peers: list[int] = []  # the port of who asked, request by request
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Clients hang up."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line(Tls(), 10)
    yield made
    made.close()


@pytest.mark.parametrize("path", ["plain/0", "plain/300000", "chunked/0", "chunked/5000", "missing/9", "missing/0"])
def test_one_connection_serves_many_requests(server: Server, line: Line, path: str) -> None:
    answers = [line.ask(Ask("GET", f"{server.url}/{path}")) for _ in range(3)]
    size = int(path.partition("/")[2])
    assert answers == [Answer(404 if path.startswith("missing") else 200, b"x" * size)] * 3
    assert len(set(server.peers)) == 1


def test_an_answer_of_just_the_limit_is_taken_and_keeps_the_connection(server: Server, line: Line) -> None:
    pieces: list[bytes] = []
    for _ in range(2):
        line.ask(Ask("GET", f"{server.url}/plain/1000", limit=1000), pieces.append)
    assert b"".join(pieces) == b"x" * 2000 and len(set(server.peers)) == 1


@pytest.mark.parametrize("kind", ["plain", "chunked"])
def test_more_than_the_limit_is_not_taken(server: Server, line: Line, kind: str) -> None:
    with pytest.raises(TooMuch):
        line.ask(Ask("GET", f"{server.url}/{kind}/1001", limit=1000))
    assert line.ask(Ask("GET", f"{server.url}/plain/3")).body == b"xxx"  # nothing of that is taken for this


def test_the_words_of_an_error_are_cut_short(server: Server, line: Line) -> None:
    assert len(line.ask(Ask("GET", f"{server.url}/missing/100000")).body) <= 4096
    assert line.ask(Ask("GET", f"{server.url}/plain/3")).body == b"xxx"


def test_what_is_missing_of_an_answer_is_noticed(server: Server, line: Line) -> None:
    with pytest.raises(Unreachable):
        line.ask(Ask("GET", f"{server.url}/short/1000"))


def test_a_line_is_cut_while_it_waits_and_for_good(server: Server, line: Line) -> None:
    threading.Timer(0.2, line.cut).start()
    began = time.monotonic()
    with pytest.raises(Unreachable):
        line.ask(Ask("GET", f"{server.url}/slow"))
    assert time.monotonic() - began < 4
    with pytest.raises(Unreachable):
        line.ask(Ask("GET", f"{server.url}/plain/3"))


def test_it_is_cut_while_packets_to_the_server_are_dropped(line: Line) -> None:
    with dropping() as port:
        assert _seconds_until_cut(line, f"http://127.0.0.1:{port}/") < 3  # a connection is given up after 4 s


def test_it_is_cut_while_the_server_does_not_take_up_tls(line: Line) -> None:
    with mute() as port:
        assert _seconds_until_cut(line, f"https://127.0.0.1:{port}/") < 3  # a connection is given up after 4 s


@pytest.mark.parametrize("place", [dropping, mute])
def test_no_connection_is_waited_for_longer_than_seconds(line: Line, place: Callable[[], Place]) -> None:
    began = time.monotonic()
    with place() as port, pytest.raises(Unreachable, match="no connection within 4 s"):
        line.ask(Ask("GET", f"https://127.0.0.1:{port}/"))
    assert time.monotonic() - began < 5


def test_a_connection_that_was_given_up_leaves_nothing(server: Server, line: Line) -> None:
    with dropping() as port, pytest.raises(Unreachable):
        line.ask(Ask("GET", f"http://127.0.0.1:{port}/"))
    assert line.ask(Ask("GET", f"{server.url}/plain/3")).body == b"xxx"


def test_a_server_is_asked_by_an_address_without_a_port_of_its_own() -> None:
    with pytest.raises(Unreachable, match="Connection refused"):
        Line(Tls(), 10).ask(Ask("GET", "https://[::1]/"))


def _seconds_until_cut(line: Line, url: str) -> float:
    threading.Timer(0.2, line.cut).start()
    began = time.monotonic()
    with pytest.raises(Unreachable, match="it was cut off"):
        line.ask(Ask("GET", url))
    return time.monotonic() - began
