"""software/helloworld is built, instantiated and talked to; and the real logrotate takes what slap:logrotate wrote."""

import gzip
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from slap.model.errors import NotReady
from slap.model.instance import Instance, InstanceRequest
from slap.model.state import ReportedInstanceState
from slap.system.process import Command, SystemRunner, kill_session, start_daemon
from tests.system import releases
from tests.unit.recipes.instance import Partition

SOURCE = Path(__file__).parents[2] / "software" / "helloworld"
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
DEADLINE = 20  # seconds


@pytest.fixture(scope="module")
def software(tmp_path_factory: pytest.TempPathFactory) -> Path:
    release = releases.make(tmp_path_factory.mktemp("helloworld"))
    head = f"[buildout]\nextends = {SOURCE}/software.cfg\noffline = true\n[slap-software]\nbase = {SOURCE}\n"
    release.build(head).check()
    return release.folder


@pytest.fixture
def partition(tmp_path: Path, software: Path) -> Partition:
    return Partition(tmp_path, software)


def instantiate(partition: Partition, template: str = "instance.cfg") -> dict[str, Any]:
    """What the instance published."""
    partition.run(f"[buildout]\nextends = {partition.software}/{template}\n")
    return dict(json.loads(partition.text(".slapos-connection.json")))


@contextmanager
def services(partition: Partition) -> Iterator[list[int]]:
    """All that is in etc/service runs, as its process ids."""
    log = partition.folder / "service.log"
    paths = sorted(partition.folder.glob("etc/service/*"))
    leaders = [start_daemon([str(path)], ENVIRONMENT, partition.folder, log) for path in paths]
    try:
        yield leaders
    finally:
        for leader in leaders:
            kill_session(leader)


def eventually(attempt: Callable[[], Any]) -> Any:
    """What an attempt returns once it no longer fails to connect."""
    until = time.monotonic() + DEADLINE
    while True:
        try:
            return attempt()
        except ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def ask(url: str, method: str = "GET", body: str = "") -> tuple[int, str]:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=DEADLINE)
    try:
        connection.request(method, f"/{path}", body or None)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_an_order_becomes_a_page_and_a_changed_order_another_one(partition: Partition) -> None:
    partition.order(parameters={"greeting": "<b>Bonjour</b> ${links:url}\n", "color": "#123456"})
    links = instantiate(partition)
    assert links["greeting"] == "<b>Bonjour</b> ${links:url}\n"
    executable = partition.text("etc/service/helloworld")
    with services(partition):
        status, page = eventually(lambda: ask(links["url"]))
        assert (status, "&lt;b&gt;Bonjour&lt;/b&gt; ${links:url}" in page, "#123456" in page) == (200, True, True)
        assert json.loads(ask(links["health-url"])[1])["status"] == "ok"
    partition.order(parameters={"greeting": "Guten Tag"})
    assert instantiate(partition) == {**links, "greeting": "Guten Tag"}
    assert partition.text("etc/service/helloworld") != executable  # by which the node knows that it is to be restarted
    with services(partition):
        assert "Guten Tag" in eventually(lambda: ask(links["url"]))[1]


def test_the_promises_look_at_what_was_published(partition: Partition) -> None:
    links = instantiate(partition)
    checks = {path.stem: json.loads(path.read_text()) for path in partition.folder.glob("etc/plugin/*.json")}
    with services(partition):
        assert eventually(lambda: ask(links["url"]))[0] == 200
        for check in checks.values():
            status, body = ask(f"http://{check['host']}:{check['port']}{check['path']}")
            assert status == 200
            assert check["expect"] in body
    assert {name: check["check"] for name, check in checks.items()} == {"port-promise": "port", "health-promise": "url"}


def test_running_again_touches_nothing(partition: Partition) -> None:
    instantiate(partition)
    before = _files(partition.folder)
    instantiate(partition)
    changed = {path for path, inode in _files(partition.folder).items() if before.get(path) != inode}
    assert {path.name for path in changed} <= {"buildout.cfg"}


def test_a_port_can_be_ordered(partition: Partition) -> None:
    partition.order(parameters={"port": 23456})
    assert instantiate(partition)["url"] == "http://127.0.0.1:23456/"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "answer"),
    [
        ("GET", "metrics", "", 200, 'hello_requests_total{status="200"}'),
        ("GET", "?a=b", "", 200, "Hello, world!"),
        ("HEAD", "", "", 200, ""),
        ("GET", "nowhere", "", 404, "404 Not Found\n"),
        ("POST", "", "x" * 1_000_000, 405, "405 Method Not Allowed\n"),
        ("get", "", "", 400, "400 Bad Request\n"),
        ("GET", "x" * 20_000, "", 431, "431 Request Header Fields Too Large\n"),
    ],
)
def test_the_server_speaks_http(server: str, method: str, path: str, body: str, status: int, answer: str) -> None:
    found = ask(server + path, method, body)
    assert found[0] == status
    assert answer in found[1] if answer else found[1] == ""


def test_connections_are_kept_and_side_by_side(server: str) -> None:
    host = server.removeprefix("http://").strip("/")
    connections = [HTTPConnection(host, timeout=DEADLINE) for _ in range(200)]
    for _ in range(3):
        for connection in connections:
            connection.request("GET", "/health")
        assert {_read(connection) for connection in connections} == {200}
    ports = {connection.sock.getsockname()[1] for connection in connections}
    assert len(ports) == 200
    for connection in connections:
        connection.close()


def test_the_server_ends_when_it_is_told_to_and_logs_in_json(partition: Partition) -> None:
    url = instantiate(partition)["url"]
    with services(partition) as leaders:
        eventually(lambda: ask(url))
        os.kill(leaders[0], signal.SIGTERM)
        assert os.waitpid(leaders[0], 0)[1] == 0
    events = [json.loads(line)["event"] for line in partition.text("service.log").splitlines()]
    assert events == ["listening", "request", "ended"]


class FakeMaster:
    """Speaks as the real one to a partition that requests a child, and answers with what the child has published."""

    def __init__(self, connection: dict[str, Any]) -> None:
        self.connection = connection
        self.requests: list[tuple[str, InstanceRequest]] = []
        master = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"]))
                request = InstanceRequest.model_validate_json(text)
                master.requests.append((f"{self.path} {self.headers['Authorization']}", request))
                body = master.answer(request).model_dump_json(exclude={"status"}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """The test's output is not for this."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def answer(self, request: InstanceRequest) -> Instance:
        now = datetime(2024, 1, 1, tzinfo=UTC)
        return Instance(
            **request.model_dump(exclude={"state"}), guid="INST-8", requester="INST-7", root="INST-1",
            requested=request.state, reported=ReportedInstanceState.NONE, connection=self.connection,
            computer="COMP-1", partition="slappart8", revision=1, created_at=now, changed_at=now,
        )  # fmt: skip


@pytest.fixture
def master() -> Iterator[FakeMaster]:
    fake = FakeMaster({})
    thread = threading.Thread(target=fake.server.serve_forever)
    thread.start()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()
    thread.join()


def test_a_tree_orders_its_child_and_waits_for_it_while_it_already_serves(
    partition: Partition, master: FakeMaster
) -> None:
    partition.master_url = f"http://127.0.0.1:{master.server.server_port}"
    partition.order(parameters={"depth": 3, "greeting": "${a:b}"}, software_type="tree")
    with pytest.raises(NotReady, match=r"child.*chain"):
        instantiate(partition, "instance-tree.cfg")
    assert (partition.folder / "etc/service/helloworld").exists()
    path, request = master.requests[0]
    assert path == "/api/v1/instances Bearer secret"
    assert (request.reference, request.software_type) == ("child", "tree")
    assert request.parameters == {"depth": 2, "greeting": "${a:b}", "color": "#2563eb"}
    master.connection = {"chain": "http://b/ http://c/"}
    found = instantiate(partition, "instance-tree.cfg")
    assert found["chain"] == f"{found['url']} http://b/ http://c/"


def test_the_last_of_a_tree_orders_nothing(partition: Partition) -> None:
    found = instantiate(partition, "instance-tree.cfg")
    assert found["chain"] == found["url"]


def test_files_of_the_release_are_those_that_its_profile_pins() -> None:
    pins = re.findall(r"filename = (\S+)\nsha256 = (\S+)", (SOURCE / "software.cfg").read_text())
    assert len(pins) == 2
    assert pins == [(name, sha256((SOURCE / name).read_bytes()).hexdigest()) for name, _ in pins]


@pytest.mark.parametrize("kind", ["", "-tree"])
def test_what_is_published_is_what_the_schema_promises(partition: Partition, kind: str) -> None:
    connection = instantiate(partition, f"instance{kind}.cfg")
    jsonschema_rs.validate(json.loads((SOURCE / f"instance{kind}-output-schema.json").read_text()), connection)


def test_logs_are_rotated_by_the_real_logrotate(tmp_path: Path) -> None:
    release = releases.make(tmp_path)
    release.build("[buildout]\nparts = logrotate\n[logrotate]\nrecipe = slap:deb\npackages = logrotate\n").check()
    folder = tmp_path / "partition"
    folder.mkdir()
    partition = Partition(folder)
    partition.run(
        "[buildout]\nparts = rotation\n[rotation]\nrecipe = slap:logrotate\nlogs = var/log/*.log\nsize = 1\n"
        f"logrotate = {release.part('logrotate')}/bin/logrotate\npost-rotate = touch {folder}/var/rotated\n"
    )
    log = partition.folder / "var/log/a.log"
    log.parent.mkdir(parents=True)
    for content in ("first", "second"):
        log.write_text(content)
        SystemRunner().run(Command((f"{folder}/bin/rotation",), env=ENVIRONMENT, timeout=DEADLINE)).check()
    assert not log.exists()
    assert (folder / "var/log/a.log.1").read_text() == "second"
    assert gzip.decompress((folder / "var/log/a.log.2.gz").read_bytes()) == b"first"
    assert (folder / "var/rotated").exists()


@pytest.fixture
def server(partition: Partition) -> Iterator[str]:
    url = instantiate(partition)["url"]
    with services(partition):
        eventually(lambda: ask(url))
        yield url


def _read(connection: HTTPConnection) -> int:
    response = connection.getresponse()
    response.read()
    return response.status


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in folder.rglob("*") if path.is_file()}
