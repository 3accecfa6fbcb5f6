"""What of a request says who sends it."""

import base64

import pytest
from starlette.requests import Request

from slap.master.access.request_credentials import Knock
from slap.master.api.peer import Peer, knock_of


def basic(words: str) -> str:
    return "Basic " + base64.b64encode(words.encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "token"),
    [
        ("", ""),
        ("Bearer user:abc", "user:abc"),
        ("bearer user:abc", "user:abc"),
        ("Bearer ", ""),
        ("Bearer", ""),
        (basic("any:user:abc"), "user:abc"),
        (basic(":user:abc"), "user:abc"),
        (basic("user-without-password"), ""),
        ("Basic ", ""),
        ("Basic not base 64", ""),
        ("Basic /w==", ""),
        ("X-SlapPartition computer_id=COMP-1, computer_partition_id=slappart0", ""),
        ("user:abc", ""),
        ("Negotiate user:abc", ""),
    ],
)
def test_tokens_come_as_such_or_as_passwords(authorization: str, token: str) -> None:
    assert Knock(authorization).token == token


def request(peer: Peer | None, **headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": pairs, "slap.peer": peer})


HERE = Peer("", ("127.0.0.1", 40000), ("127.0.0.1", 5000))


@pytest.mark.parametrize(
    ("peer", "headers", "direct"),
    [
        (HERE, {"host": "127.0.0.1:5000"}, True),
        (HERE, {"host": "localhost"}, True),
        (HERE, {"host": "[::1]:5000"}, True),
        (HERE, {"host": "evil.example:5000"}, False),  # a page whose name was made to mean this machine
        (HERE, {}, False),
        (HERE, {"host": "localhost", "origin": "null"}, False),  # a page in a browser
        (HERE, {"host": "localhost", "sec_fetch_site": "none"}, False),
        (HERE, {"host": "localhost", "x_forwarded_for": "192.0.2.1"}, False),  # somebody else, by a proxy
        (HERE, {"host": "localhost", "forwarded": "for=192.0.2.1"}, False),
        (Peer("", ("192.0.2.1", 1), ("192.0.2.2", 2)), {"host": "localhost"}, False),
        (Peer("", None, None), {"host": "localhost"}, False),
        (None, {"host": "localhost"}, False),
    ],
)
def test_only_programs_on_this_machine_are_direct(peer: Peer | None, headers: dict[str, str], direct: bool) -> None:
    assert knock_of(request(peer, **headers)).is_direct is direct
