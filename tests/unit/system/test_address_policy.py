"""What is fetched on behalf of others: from which addresses, without our passwords, and not for ever."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from slap.master.access.authority import in_pem, key_in_pem, new_authority, new_key
from slap.model.errors import InvalidInput
from slap.model.network.firewall import parse_network
from slap.system.network.address_policy import EVERYWHERE, AddressPolicy, PaceMeter, open_session
from slap.system.network.http_connection import Pace

LOOPBACK = parse_network("127.0.0.0/8")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(50 if self.path == "/drip" else 1):
                self.wfile.write(b"x")
                time.sleep(0.02 if self.path == "/drip" else 0)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://{host}:{self.server_port}"


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    with Server() as one, Server("127.0.0.2") as two:
        for each in (one, two):
            threading.Thread(target=each.serve_forever, args=(0.01,), daemon=True).start()
        yield one, two
        one.shutdown()
        two.shutdown()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1",
     "224.0.0.1", "255.255.255.255", "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fe80::1%lo",
     "fd00::1", "ff02::1", "64:ff9b::a00:1", "2002:7f00:1::1", "::127.0.0.1", "240.0.0.1", "fec0::1", "fd00:ec2::254",
     "64:ff9b:1::1", "192.88.99.1", "3fff::1", "2001:0:7f00:1::", "2001:db8::1", "192.0.0.170", "198.18.0.1", "5f00::1",
     "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"],
)  # fmt: skip
def test_no_address_passes_that_only_this_computer_and_its_network_reach(address: str) -> None:
    assert not AddressPolicy().allows(address)
    assert AddressPolicy(EVERYWHERE).allows(address)


def test_public_addresses_pass_and_what_is_allowed() -> None:
    policy = AddressPolicy((parse_network("10.1.0.0/16"),))
    for address, passes in (
        ("9.9.9.9", True),
        ("2620:fe::fe", True),
        ("64:ff9b::909:909", True),
        ("10.1.2.3", True),
        ("10.2.2.3", False),
    ):
        assert policy.allows(address) is passes, address


@pytest.mark.parametrize(
    "where", ["{0}/", "http://localhost:{1}/", "http://[::ffff:127.0.0.1]:{1}/", "http://2130706433:{1}/"]
)
def test_a_server_of_this_computer_is_not_even_connected_to(servers: tuple[Server, Server], where: str) -> None:
    url = where.format(servers[0].url, servers[0].server_port)
    with open_session(AddressPolicy(resolution="Ask the operator.")) as session:
        with pytest.raises(InvalidInput, match="Nothing is fetched from") as caught:
            session.get(url)
    assert servers[0].asked == []
    assert caught.value.resolution == "Ask the operator."


def test_a_redirect_is_judged_as_well(servers: tuple[Server, Server]) -> None:
    one, two = servers
    with open_session(AddressPolicy((parse_network("127.0.0.1"),))) as session:
        assert session.get(f"{one.url}/to/{one.url}/there").content == b"x"
        with pytest.raises(InvalidInput):
            session.get(f"{one.url}/to/{two.url}/there")
    assert two.asked == []


def test_passwords_of_whoever_runs_it_stay_here(
    servers: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login root password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    one, two = servers
    with open_session(AddressPolicy((LOOPBACK,))) as session:
        session.get(f"{one.url}/plain")
        session.get(f"{two.url}/to/{one.url}/redirected")
        session.get(f"http://user:own@127.0.0.1:{one.server_port}/own")
    assert one.asked == [("/plain", None), ("/redirected", None), ("/own", "Basic dXNlcjpvd24=")]


def test_a_proxy_that_is_named_is_asked_but_not_for_what_is_here(servers: tuple[Server, Server]) -> None:
    proxy, other = servers
    with open_session(AddressPolicy(), proxy=proxy.url) as session:
        assert session.get("http://nowhere.invalid/image").content == b"x"
        with pytest.raises(InvalidInput):
            session.get(f"{other.url}/image")
    assert (proxy.asked, other.asked) == ([("http://nowhere.invalid/image", None)], [])


def test_a_proxy_of_the_environment_does_not_lead_past_the_policy(
    servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, other = servers
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    with open_session(AddressPolicy((parse_network("127.0.0.2"),))) as session:
        assert session.get(f"{other.url}/to/{other.url}/image").content == b"x"
        with pytest.raises(requests.ConnectionError):
            session.get("http://nowhere.invalid/image")
    with open_session(AddressPolicy(EVERYWHERE), as_myself=True) as session:
        session.get("http://nowhere.invalid/image")
    assert proxy.asked == [("http://nowhere.invalid/image", None)]


def test_by_tls_the_certificate_is_that_of_the_name_and_not_of_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, key = new_authority(), new_key()
    (tmp_path / "ca.pem").write_text(authority.certificate)
    certificate = in_pem(authority.sign_server(("localhost",), key.public_key(), 3600))
    (tmp_path / "server.pem").write_text(key_in_pem(key) + certificate)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with Server() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with open_session(AddressPolicy((LOOPBACK,))) as session:
            assert session.get(f"https://localhost:{server.server_port}/").content == b"x"
            with pytest.raises(requests.exceptions.SSLError):
                session.get(f"https://127.0.0.1:{server.server_port}/")
        with open_session(AddressPolicy()) as session, pytest.raises(InvalidInput):
            session.get(f"https://localhost:{server.server_port}/")
        server.shutdown()


def test_what_drips_is_ended(servers: tuple[Server, Server]) -> None:
    hours = iter(range(0, 1_000_000, 5))
    meter = PaceMeter(Pace(60, 16 << 10, lambda: float(next(hours))))
    with open_session(AddressPolicy((LOOPBACK,)), lambda: meter) as session:
        with pytest.raises(requests.RequestException, match="KiB a second"):
            session.get(f"{servers[0].url}/drip")


def test_a_port_where_nobody_listens_is_told_as_ever() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as closed:
        port = closed.getsockname()[1]
    with open_session(AddressPolicy((LOOPBACK,))) as session, pytest.raises(requests.ConnectionError, match="refused"):
        session.get(f"http://127.0.0.1:{port}/")


class Names:
    """Names whose addresses change each time that somebody asks; the last ones stay."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int | None) -> list[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_of_several_addresses_only_those_are_asked_that_pass(servers: tuple[Server, Server]) -> None:
    one, _ = servers
    names = Names(["127.0.0.2", "127.0.0.1"])
    with closing(socket.create_server(("127.0.0.2", one.server_port))) as other:
        with open_session(AddressPolicy((parse_network("127.0.0.1"),), resolve=names)) as session:
            session.get(f"http://release.example:{one.server_port}/", timeout=5)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert one.asked == [("/", None)]


def test_a_name_is_looked_up_once_for_a_connection(servers: tuple[Server, Server]) -> None:
    """Another answer, between the judgement and the connection, would lead elsewhere."""
    one, two = servers
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    with open_session(AddressPolicy((parse_network("127.0.0.1"),), resolve=names)) as session:
        session.get(f"http://release.example:{one.server_port}/")
        assert names.asked == 1
        with pytest.raises(InvalidInput):  # a new connection is judged anew
            session.get(f"http://release.example:{two.server_port}/")
    assert (one.asked, two.asked) == ([("/", None)], [])


def test_an_address_that_does_not_answer_keeps_nobody_from_the_next(servers: tuple[Server, Server]) -> None:
    names = Names(["127.0.0.3", "127.0.0.2"])
    with open_session(AddressPolicy((LOOPBACK,), resolve=names)) as session:
        assert session.get(f"http://release.example:{servers[1].server_port}/").content == b"x"


@pytest.mark.parametrize("host", ["." + "a" * 64, "a..b", "no-such-host.invalid"])
def test_a_host_that_is_none_is_unknown(host: str) -> None:
    with pytest.raises(OSError, match=r"\w"):
        AddressPolicy().addresses(host, 80)
