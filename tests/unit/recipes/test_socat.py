"""slap:socat: one service and one check for each port, and what cannot be forwarded is told with its port and asker."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slap.model.check import NetworkCheck
from slap.recipes.common.base import RecipeError
from slap.system.environment import CLEAN_PATH
from slap.system.process import kill_session, start_daemon
from slap.system.processes import PARTITION_MARK
from tests.system.cloud import eventually
from tests.unit.recipes.instance import Partition

PART = "[forward]\nrecipe = slap:socat\nsocat = /bin/cat\n"


def run(partition: Partition, options: str, more: str = "") -> None:
    parts = "forward other" if more else "forward"
    partition.run(f"[buildout]\nparts = {parts}\n{PART}{options}\n{more}")


def made(partition: Partition) -> list[str]:
    found = [*partition.folder.glob("etc/service/*"), *partition.folder.glob("etc/plugin/*")]
    return sorted(str(path.relative_to(partition.folder / "etc")) for path in found)


def last_line(partition: Partition, name: str) -> str:
    return partition.text(f"etc/service/{name}").splitlines()[-1]


@contextmanager
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_each_port_is_a_service_and_a_promise(partition: Partition) -> None:
    partition.order(ipv4=("10.0.0.5",), ipv6=("::1",))
    run(partition, "ports = 18022:22 18080/tcp 18053:53/udp\nsource-address = 127.0.0.1\nexpect = SSH-\ntimeout = 2")
    assert made(partition) == [
        "plugin/forward-18022.json", "plugin/forward-18080.json",
        "service/forward-18022", "service/forward-18053-udp", "service/forward-18080",
    ]  # fmt: skip
    listen = "bind=[::1],ipv6only=1,reuseaddr,fork"
    assert last_line(partition, "forward-18022") == (
        f"exec /bin/cat -b131072 'TCP6-LISTEN:18022,{listen},backlog=128' TCP4:10.0.0.5:22,bind=127.0.0.1"
    )
    assert last_line(partition, "forward-18053-udp") == (
        f"exec /bin/cat -b131072 -T180 'UDP6-LISTEN:18053,{listen}' UDP4:10.0.0.5:53,bind=127.0.0.1"
    )
    check = NetworkCheck.model_validate_json(partition.text("etc/plugin/forward-18022.json"))
    assert check == NetworkCheck(
        check="forward", host="::1", port=18022, target="10.0.0.5:22", expect="SSH-", timeout=2
    )


@pytest.mark.parametrize(("promise", "kinds"), [("listening", ["port"]), ("none", []), ("end-to-end", ["forward"])])
def test_how_far_a_promise_looks_can_be_said(partition: Partition, promise: str, kinds: list[str]) -> None:
    run(partition, f"ports = 18022\npromise = {promise}")
    found = [NetworkCheck.model_validate_json(path.read_text()) for path in partition.folder.glob("etc/plugin/*")]
    assert [each.check for each in found] == kinds


def test_a_port_that_comes_or_goes_leaves_the_others_as_they_are(partition: Partition) -> None:
    run(partition, "ports = 18022")
    before = partition.text("etc/service/forward-18022")
    run(partition, "ports = 18022 18080")
    run(partition, "ports = 18022 18443")
    assert partition.text("etc/service/forward-18022") == before
    assert "service/forward-18080" not in made(partition)
    run(partition, "ports =")
    assert made(partition) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", "ports is missing"),
        ("ports = 18022\nsocat = /nowhere/socat", "'/nowhere/socat', where there is no program"),
        ("ports = 0", "'0', where 0 is out of range"),
        ("ports = 18022:65536", "'18022:65536', where 65536 is out of range"),
        ("ports = 80000", "80000 is out of range"),
        ("ports = 18022 18022:22", r"port 18022 \(tcp\) twice"),
        ("ports = http", "'http': write a port"),
        ("ports = 18022,fork", "write a port"),
        ("ports = 18022\ntarget = example.com", "target is 'example.com': write an IP address"),
        ("ports = 18022\ntarget = fe80::1%x,su=root", "target is"),
        ("ports = 18022\nsource-address = 127.0.0.1!!x", "source-address is"),
        ("ports = 18022\naddress = 192.0.2.1", "not an address of this partition"),
        ("ports = 18022 18023\ntimeout = 0", "timeout is wrong"),
        ("ports = 18022\npromise = maybe", "promise is 'maybe'"),
    ],
)
def test_what_cannot_be_forwarded_is_told(partition: Partition, options: str, told: str) -> None:
    with pytest.raises(RecipeError, match=rf"(?s)\[forward\].*{told}") as raised:
        run(partition, options)
    assert made(partition) == []
    assert len(set(raised.value.details.splitlines())) == len(raised.value.details.splitlines())


def test_a_port_that_two_parts_forward_is_told_with_both(partition: Partition) -> None:
    other = PART.replace("[forward]", "[other]") + "ports = 18022:22\n"
    with pytest.raises(RecipeError, match=r"(?s)\[other\].*port 18022 \(tcp\), which part \[forward\] forwards too"):
        run(partition, "ports = 18022 18080", other)


def test_the_same_port_by_another_protocol_or_address_is_another_one(partition: Partition) -> None:
    partition.order(ipv4=("127.0.0.1", "127.0.0.2"))
    other = PART.replace("[forward]", "[other]") + "ports = 18022\naddress = 127.0.0.2\n"
    run(partition, "ports = 18022 18022/udp", other)
    assert len(made(partition)) == 5


def test_a_port_that_somebody_else_has_is_told_with_who_asks(partition: Partition) -> None:
    with taken() as port:
        asks = rf"(?s)\[forward\] of shop \(slappart7\) asks for port {port} \(tcp\) of 127.0.0.1, which is taken"
        with pytest.raises(RecipeError, match=f"{asks}.*A process of user"):
            run(partition, f"ports = {port}")
        assert made(partition) == []
    run(partition, f"ports = {port}")


def test_a_port_that_is_refused_takes_none_that_is_there_away(partition: Partition) -> None:
    run(partition, "ports = 18022")
    with taken() as port, pytest.raises(RecipeError, match="which is taken"):
        run(partition, f"ports = 18022 {port}")
    assert made(partition) == ["plugin/forward-18022.json", "service/forward-18022"]


def test_a_port_that_the_partition_itself_has_may_change_hands(partition: Partition, tmp_path: Path) -> None:
    """The forwarder of an earlier run goes on while the next one is instantiated."""
    with taken() as port:
        pass
    environment = {"PATH": CLEAN_PATH, PARTITION_MARK: str(partition.folder)}
    argv = ["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    child = start_daemon(argv, environment, tmp_path, tmp_path / "log")
    try:
        eventually(lambda: _listens(port))
        run(partition, f"ports = {port}")
        assert f"service/forward-{port}" in made(partition)
    finally:
        kill_session(child)


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
