"""Bodies that are allowed by their size, and would take GiB or stop the event loop once they are parsed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.master.hostile import Target, hostile_target, read_all

ORDERS, COMPUTER = "/api/v1/instances", "/api/v1/computers/COMPUTER"
MANY = 50_000


def empty_objects(name: str, count: int = MANY) -> bytes:
    return b'{"%s":[' % name.encode() + b"{}," * count + b"{}]}"


def order_with(**fields: Any) -> bytes:
    return json.dumps({"reference": "a", "software_release": "/a", **fields}).encode()


def members(count: int = MANY) -> dict[str, int]:
    return {f"a{number}": number for number in range(count)}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder: Path = tmp_path_factory.mktemp("bodies")
    limits = {"request_body": 2 << 20, "bodies_per_owner": 32 << 20}
    with hostile_target(f"sqlite:///{folder}/master.sqlite", folder, tls=False, **limits) as found:
        _, computer = found.ask("/api/v1/computers", "alice", "POST", {"title": "one"})
        found.tokens.update(computer=computer["token"], guid=computer["guid"])
        yield found


@pytest.mark.parametrize(
    ("who", "method", "path", "body", "status"),
    [
        ("computer", "POST", f"{COMPUTER}/reports", empty_objects("instances", 300_000), 413),
        ("computer", "POST", f"{COMPUTER}/reports", empty_objects("instances"), 400),
        ("computer", "POST", f"{COMPUTER}/reports", empty_objects("supplies"), 400),
        ("computer", "POST", f"{COMPUTER}/usage", empty_objects("series"), 400),
        ("computer", "PUT", f"{COMPUTER}/configuration", empty_objects("partitions"), 400),
        ("computer", "POST", f"{COMPUTER}/bang", b" " * (3 << 20), 400),
        ("computer", "POST", "/softwareReleaseError", b"a" * (3 << 20), 413),
        ("alice", "POST", ORDERS, empty_objects("x", 300_000), 413),
        ("alice", "POST", ORDERS, order_with(**members()), 400),
        ("alice", "POST", ORDERS, order_with(**members()).replace(b": 7,", b": NaN,"), 400),
        ("alice", "POST", ORDERS, order_with(sla={"labels": members()}), 400),
        ("alice", "POST", ORDERS, order_with(sla={"capabilities": list(range(MANY))}), 400),
        ("alice", "POST", "/api/v1/plans", order_with(**members()), 400),
        ("alice", "POST", "/slapos.post.v0.software_instance", empty_objects("x", 300_000), 413),
        ("alice", "POST", "/slapos.post.v0.software_instance", order_with(**members()), 400),
    ],
)
def test_a_document_of_many_values_is_refused_in_few_words(
    target: Target, who: str, method: str, path: str, body: bytes, status: int
) -> None:
    headers = f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    asked = target.request(method, path.replace("COMPUTER", target.tokens["guid"]), headers, who, body)
    with target.connect(asked) as connection:
        answer = read_all(connection)
    assert int(answer.split()[1]) == status
    assert len(answer) < 5000
    assert target.is_serving()


def test_what_is_refused_is_counted_and_in_the_form_of_its_protocol(target: Target) -> None:
    before = target.refused("too-many-values")
    status, document = target.ask("/slapos.post.v0.software_instance", "alice", "POST", members())
    assert (status, document["status"]) == (400, 400)
    assert target.refused("too-many-values") == before + 1


def test_parameters_may_have_many_members(target: Target) -> None:
    """They are judged by what they are, and the release of this order is not supplied."""
    status, _ = target.ask(
        ORDERS, "alice", "POST", {"reference": "a", "software_release": "/a", "parameters": members()}
    )
    assert status == 404
