"""Callers who hold what a master has: connections, memory, time. One row is one attack; another tenant is served meanwhile.

What was refused is counted by the master itself, as its health page says.
"""

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.master.hostile import (
    CAPACITY,
    KIB,
    LIMITS,
    Target,
    hostile_target,
    is_closed_within,
    read_all,
    send,
)
from tests.contract.master.world import until

ORDER = "/api/v1/instances"
REGISTER = "/api/v1/registrations"
CHUNKED = "Transfer-Encoding: chunked\r\n"
CLASSIC = "/requestComputerPartition"
RPC = "/slapos.post.v0.software_instance"
JSON = "Content-Type: application/json\r\n"


@pytest.fixture(scope="module", params=["plain", "tls"])
def running(
    request: pytest.FixtureRequest, empty_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copy(empty_sqlite, folder / "master.sqlite")
    with hostile_target(f"sqlite:///{folder}/master.sqlite", folder, request.param == "tls") as target:
        yield target


@pytest.fixture
def target(running: Target) -> Iterator[Target]:
    yield running
    running.connections.close()
    until(lambda: sum(running.open_connections().values()) == 1)


def _length(size: int) -> str:
    return f"{JSON}Content-Length: {size}\r\n"


# What is sent on one connection, which the master closes, and how it is counted.
ENDED: dict[str, tuple[Callable[[Target], bytes], str]] = {
    "no request": (lambda target: b"", "slow-headers"),
    "half a request line": (lambda target: b"GET /hea", "slow-headers"),
    "headers without an end": (lambda target: b"GET /health HTTP/1.1\r\nX: ", "slow-headers"),
    "an endless request line": (lambda target: b"GET /" + b"a" * 100 * KIB, "large-headers"),
    "an endless header": (lambda target: b"GET / HTTP/1.1\r\nX: " + b"a" * 100 * KIB, "large-headers"),
    "endless headers": (lambda target: b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000, "large-headers"),
    "many short headers": (lambda target: b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 300 + b"\r\n", "large-headers"),
    "a body of a known caller that stalls": (
        lambda target: target.request("POST", ORDER, _length(5000), "alice", b"{"),
        "slow-body",
    ),
    "a body of an unknown caller that stalls": (
        lambda target: target.request("POST", REGISTER, _length(5000), body=b"{"),
        "slow-body",
    ),
    "an endless chunk extension": (
        lambda target: target.request("POST", ORDER, JSON + CHUNKED, "alice", b"1;" + b"a" * 100 * KIB),
        "large-headers",
    ),
    "endless trailers": (
        lambda target: target.request("POST", REGISTER, JSON + CHUNKED, "", b"0\r\n" + b"X: y\r\n" * 20_000),
        "large-headers",
    ),
    "tiny chunks": (
        lambda target: target.request("POST", ORDER, JSON + CHUNKED, "alice", b"1;abcdefgh\r\nx\r\n" * 20_000),
        "large-headers",
    ),
    "two ways to tell the length": (
        lambda target: target.request("POST", ORDER, _length(5) + CHUNKED, "alice", b"0\r\n\r\nGET /"),
        "malformed",
    ),
    "two lengths": (lambda target: target.request("POST", ORDER, _length(5) + _length(6), "alice", b"{"), "malformed"),
    "a negative length": (lambda target: target.request("POST", ORDER, _length(-5), "alice"), "malformed"),
    "a length over 64 bits": (lambda target: target.request("POST", ORDER, _length(1 << 64), "alice"), "malformed"),
    "an encoding after chunked": (
        lambda target: target.request("POST", ORDER, "Transfer-Encoding: chunked, x\r\n", "alice"),
        "malformed",
    ),
    "no number of a chunk": (lambda target: target.request("POST", ORDER, CHUNKED, "alice", b"zz\r\n"), "malformed"),
    "a header folded": (lambda target: b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", "malformed"),
    "a bare line feed in a header": (lambda target: b"GET / HTTP/1.1\r\nHost: x\nY: \rz\r\n\r\n", "malformed"),
    "no HTTP": (lambda target: b"\x00\x01\x02SSH-2.0-x\r\n\r\n", "malformed"),
    "HTTP/2": (lambda target: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "malformed"),
    "many requests at once": (
        lambda target: target.request("GET", ORDER, user="alice") * 100,
        "too-many-pipelined",
    ),
}


@pytest.mark.parametrize("attack", ENDED)
def test_a_connection_that_is_misused_is_closed(target: Target, attack: str) -> None:
    data, refusal = ENDED[attack]
    before = target.refused(refusal)
    connection = target.connect(data(target))
    assert target.is_serving()
    assert is_closed_within(connection, 10)
    assert target.refused(refusal) > before


# Bodies that are refused before they are read: who sends what, and the status of the answer.
REFUSED: dict[str, tuple[Callable[[Target], bytes], int, str]] = {
    "an order of an unknown caller": (
        lambda target: target.request("POST", ORDER, _length(32_000_000)),
        401,
        "body-of-unknown-caller",
    ),
    "an order with a wrong token": (
        lambda target: target.request("POST", ORDER, "Authorization: Bearer user:x\r\n" + _length(32_000_000)),
        401,
        "body-of-unknown-caller",
    ),
    "a classic order of an unknown caller": (
        lambda target: target.request("POST", CLASSIC, _length(32_000_000)),
        401,
        "body-of-unknown-caller",
    ),
    "JSON-RPC of an unknown caller": (
        lambda target: target.request("POST", RPC, _length(32_000_000)),
        401,
        "body-of-unknown-caller",
    ),
    "chunks of an unknown caller": (
        lambda target: target.request("POST", ORDER, JSON + CHUNKED),
        401,
        "body-of-unknown-caller",
    ),
    "a large registration": (lambda target: target.request("POST", REGISTER, _length(32_000_000)), 413, "large-body"),
    "a large order": (lambda target: target.request("POST", ORDER, _length(32_000_000), "alice"), 413, "large-body"),
    "a large classic order": (
        lambda target: target.request("POST", CLASSIC, _length(32_000_000), "alice"),
        413,
        "large-body",
    ),
    "large JSON-RPC": (lambda target: target.request("POST", RPC, _length(32_000_000), "alice"), 413, "large-body"),
}


@pytest.mark.parametrize("attack", REFUSED)
def test_a_body_is_refused_before_it_is_read(target: Target, attack: str) -> None:
    data, status, refusal = REFUSED[attack]
    before = target.refused(refusal)
    connection = target.connect(data(target))
    assert _status(connection) == status
    assert target.refused(refusal) == before + 1


@pytest.mark.parametrize(("path", "user"), [(REGISTER, ""), (ORDER, "alice"), (CLASSIC, "alice"), (RPC, "alice")])
def test_chunks_without_end_are_refused_at_the_limit(target: Target, path: str, user: str) -> None:
    connection = target.connect(target.request("POST", path, JSON + CHUNKED, user))
    for _ in range(100):
        send(connection, b"1000\r\n" + b" " * 0x1000 + b"\r\n")
    assert _status(connection) == 413
    assert target.is_serving()


def test_what_an_unknown_caller_sends_after_the_answer_closes_the_connection(target: Target) -> None:
    body = b"x" * 100 * KIB
    connection = target.connect(target.request("POST", ORDER, _length(len(body)), body=body))
    assert read_all(connection).startswith(b"HTTP/1.1 401 ")


def test_a_caller_gets_room_for_so_many_bytes(target: Target) -> None:
    before = target.refused("no-room-for-body")
    head = target.request("POST", ORDER, _length(200 * KIB), "alice")
    attackers = [target.connect(head) for _ in range(5)]
    assert target.is_serving()
    statuses = [_status(connection) for connection in attackers]
    assert statuses.count(503) == 3  # two have 400 of the 512 KiB
    assert target.refused("no-room-for-body") == before + 3


def _status(connection: socket.socket) -> int:
    """The status of the next answer; 0 for a connection that is closed without one."""
    answer = b""
    try:
        while b"\r\n" not in answer and (more := connection.recv(65536)):
            answer += more
    except OSError:
        return 0
    return int(answer.split()[1]) if answer else 0


def test_unknown_callers_get_room_for_so_many_bytes(target: Target) -> None:
    head = target.request("POST", REGISTER, _length(60_000))
    attackers = [target.connect(head) for _ in range(4)]
    assert sorted(map(_status, attackers)) == [0, 0, 503, 503]


def test_an_answer_that_is_not_read_ends_the_connection(target: Target) -> None:
    before = target.refused("slow-reader")
    document = target.request("GET", target.large_computer(), user="alice")
    for _ in range(3):
        target.connect(document * 16, receive_buffer=4 * KIB)
    assert target.is_serving()
    until(lambda: target.refused("slow-reader") == before + 3)


def test_a_connection_that_is_half_closed_ends(target: Target) -> None:
    connection = target.connect(target.request("GET", "/health"))
    connection.recv(65536)
    connection.shutdown(socket.SHUT_WR)
    until(lambda: sum(target.open_connections().values()) == 1)


def test_an_upgrade_changes_nothing(target: Target) -> None:
    connection = target.connect(target.request("GET", ORDER, "Connection: upgrade\r\nUpgrade: websocket\r\n"))
    assert _status(connection) == 401


def test_one_address_holds_so_many_connections(target: Target) -> None:
    before = target.refused("too-many-of-one-address")
    for _ in range(3 * LIMITS["connections_per_address"]):
        target.connect(b"GET / HTTP/1.1\r\nX: ")
    assert target.open_connections()["unknown"] <= LIMITS["connections_per_address"]
    assert target.refused("too-many-of-one-address") >= before + 2 * LIMITS["connections_per_address"]
    assert target.is_serving()


def test_silent_connections_are_counted_before_the_handshake(target: Target) -> None:
    before = target.refused("too-many-of-one-address")
    for _ in range(2 * LIMITS["connections_per_address"]):
        target.connections.enter_context(socket.create_connection(target.address))
    assert target.is_serving()
    assert target.refused("too-many-of-one-address") >= before + LIMITS["connections_per_address"]


def test_strangers_do_not_push_known_callers_out(target: Target) -> None:
    known = [target.connect(target.request("GET", ORDER, user="bob")) for _ in range(5)]
    assert [_status(connection) for connection in known] == [200] * 5
    for _ in range(CAPACITY):
        target.connect(b"GET / HTTP/1.1\r\nX: ")
    for connection in known:
        send(connection, target.request("GET", ORDER, user="bob"))
    assert [_status(connection) for connection in known] == [200] * 5


def test_one_caller_holds_so_many_connections(target: Target) -> None:
    before = target.refused("too-many-of-one-caller")
    attackers = [target.connect(target.request("GET", ORDER, user="alice")) for _ in range(15)]
    statuses = [_status(connection) for connection in attackers]
    assert (statuses.count(200), statuses.count(503)) == (10, 5)
    assert target.refused("too-many-of-one-caller") == before + 5
    assert target.is_serving()


@pytest.mark.parametrize("running", ["tls"], indirect=True)
@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n", b"\x80\x00\x00"])
def test_a_handshake_that_does_not_end_is_closed(running: Target, first: bytes) -> None:
    before = running.refused("failed-handshake")
    with socket.create_connection(running.address, 10) as connection:
        connection.sendall(first)
        assert running.is_serving()
        assert is_closed_within(connection, 10)
    until(lambda: running.refused("failed-handshake") == before + 1)


def test_a_release_that_is_refused_is_counted(target: Target) -> None:
    before, computer = target.refused("release"), target.ask("/api/v1/computers", "alice", "POST", {"title": "c"})[1]
    supply = {"url": "http://127.0.0.1:1/software.cfg", "computer": computer["guid"]}
    assert target.ask("/api/v1/supplies", "alice", "PUT", supply)[0] == 400
    assert target.refused("release") == before + 1


def test_a_document_that_is_not_valid_is_counted(target: Target) -> None:
    before = target.refused("invalid-document")
    assert target.ask(ORDER, "alice", "POST", {"reference": "x" * 3000, "software_release": "y"})[0] == 400
    assert target.refused("invalid-document") == before + 1
