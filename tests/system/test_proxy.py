"""slapproxy as a slapos.cfg describes it, sending orders on to another master; and what partitions use, measured."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from tests.system import typed
from tests.system.cloud import HELLOWORLD, Cloud, Result, eventually, short_folder, small_cloud


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with small_cloud(partitions=3) as cloud:
        cloud.supply()
        yield cloud


class _Proxy:
    """A slapproxy of its own, whose configuration is a slapos.cfg."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.cfg, self.client = folder / "slapos.cfg", folder / "slapos-client.cfg"
        self.client.write_text(f"[slapos]\nmaster_url = http://127.0.0.1:{port}\n")

    def configure(self, more: str = "") -> None:
        self.cfg.write_text(
            f"[slapos]\ncomputer_id = local_computer\n[slapproxy]\nhost = 127.0.0.1\nport = {self.port}\n"
            f"database_uri = {self.folder}/slapproxy.db\nsoftware_product_list =\n  hello {HELLOWORLD}\n{more}"
        )

    def slapos(self, *words: str) -> Result:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "SLAPOS_CLIENT_CONFIGURATION": str(self.client),
        }
        done = typed.run(words, environment, self.folder, 120)
        return Result(done.returncode, done.stdout, done.stderr)

    def ask(self, path: str, document: dict[str, str] | None = None) -> Any:
        """What a GET, or a POST of a document, is answered."""
        body = None if document is None else json.dumps(document).encode()
        request = Request(f"http://127.0.0.1:{self.port}/{path}", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)

    @contextmanager
    def started(self) -> Iterator["_Proxy"]:
        with _typed(self, "proxy", "start", "--cfg", str(self.cfg)):
            eventually(lambda: self.slapos("computer", "list").status == 0)
            yield self


@pytest.fixture
def proxy() -> Iterator[_Proxy]:
    with short_folder() as folder, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        yield _Proxy(folder, port)


def test_an_order_for_another_master_is_placed_there(cloud: Cloud, proxy: _Proxy) -> None:
    proxy.configure(f"[multimaster/{cloud.master_url}]\nsoftware_release_list =\n  {HELLOWORLD}\n")
    with proxy.started():
        ordered = proxy.slapos("request", "front", str(HELLOWORLD), "-f", "json")
        assert ordered.status == 0, ordered
        (there,) = cloud.master().instances("admin_front")
        assert there.connection["url"] in ordered.stdout
        assert there.connection["url"].startswith("http")
        (row,) = json.loads(proxy.slapos("service", "list", "-f", "json").stdout)
        assert (row["name"], row["status"]) == ("front", "started")
        assert cloud.master_url in proxy.slapos("service", "info", "front").stdout
        _by_every_protocol(proxy, there.connection["url"])
        assert proxy.slapos("service", "destroy", "front").status == 0
        eventually(lambda: not cloud.master().instances("admin_front"))
        assert proxy.slapos("service", "list", "-f", "json").stdout.strip() in ("", "[]")


def _by_every_protocol(proxy: _Proxy, url: object) -> None:
    """What another master placed is seen by SlapOS's clients as by ours."""
    query = quote('portal_type:"Instance Tree" AND validation_state:validated AND title:="front"')
    (found,) = proxy.ask(f"hateoas?mode=search&query={query}")["_embedded"]["contents"]
    assert (found["title"], found["url_string"]) == ("front", str(HELLOWORLD))
    document = proxy.ask(f"hateoas?mode=traverse&relative_url={found['relative_url']}")["_embedded"]["_view"]
    published = {
        each["connection_key"]: each["connection_value"] for each in _default(document, "connection_parameter_list")
    }
    assert published["url"] == url
    assert [each["text"][:7] for each in _default(document, "news")["instance"]] == ["#access"]
    assert proxy.ask("slapos.allDocs.v0.instance_tree_list", {}) == {"result_list": [{"title": "front"}]}
    asked_by_guid = {"instance_guid": found["reference"]}
    for method, asked in (("instance_tree", {"title": "front"}), ("software_instance", asked_by_guid)):
        assert proxy.ask(f"slapos.get.v0.{method}", asked)["connection_parameters"]["url"] == url


def _default(document: Any, name: str) -> Any:
    return document[f"my_{name}"]["default"]


def test_what_the_other_master_refuses_is_told(cloud: Cloud, proxy: _Proxy) -> None:
    proxy.configure(f"[multimaster/{cloud.master_url}]\nsoftware_release_list =\n  http://127.0.0.1:9/software.cfg\n")
    with proxy.started():
        refused = proxy.slapos("request", "front", "http://127.0.0.1:9/software.cfg")
        assert refused.status != 0
        assert cloud.master_url in refused.stderr
        elsewhere = proxy.slapos(
            "request", "a", "http://127.0.0.1:9/b/software.cfg", "--node", "master_url=http://127.0.0.1:9"
        )
        assert "multimaster" in elsewhere.stderr


def test_the_database_and_its_token_are_kept_for_their_owner(proxy: _Proxy) -> None:
    proxy.configure()
    with proxy.started():
        assert {path.name for path in proxy.folder.glob("slapproxy.db*")} >= {"slapproxy.db", "slapproxy.db.token"}
        assert (proxy.folder / "slapproxy.db.token").stat().st_mode & 0o077 == 0
        for view in ("computers", "software", "partitions", "slaves", "params", "network"):
            assert proxy.slapos("proxy", "show", f"--{view}").status == 0
        both = proxy.slapos("proxy", "show", "--network", "--computers")
        assert both.status == 0, both
        assert both.stdout.index("NETWORK") < both.stdout.index("COMPUTERS")


def test_what_partitions_use_is_measured_and_shown(cloud: Cloud) -> None:
    cloud.slapos("request", "busy", str(HELLOWORLD))
    cloud.slapos("node", "collect")
    url = cloud.master().instances("busy")[0].connection["url"]

    def measured() -> Any:
        """Processors are counted by the hundredth of a second: an answer takes much less, so many are asked for."""
        subprocess.run(
            ["curl", "-s", *[word for _ in range(200) for word in ("-o", "/dev/null", url)]], check=True, timeout=60
        )
        rows = cloud.slapos("node", "collect", "-f", "json").json
        row = next(each for each in rows if each["service"] == "busy")
        return row["cpu"] > 0 and row

    row = eventually(measured)
    assert row["memory"] > 1 << 20
    assert row["disk"] > 1 << 12
    cloud.slapos("node", "report")
    assert "memory" in cloud.slapos("service", "info", "busy").stdout
    assert "Busiest" in cloud.slapos("computer", "info", cloud.computer).stdout
    series = next(each for each in cloud.master().computer_usage(cloud.computer) if each.reference == "busy")
    assert series.slots[-1].memory > 1 << 20


def test_what_configure_local_says_to_type_works(proxy: _Proxy) -> None:
    told = proxy.slapos("configure", "local", "--root", "n", "--daemon-listen-port", str(proxy.port)).stderr
    start, *others = [line.split()[1:] for line in told.splitlines() if line.startswith("  slapos ")]
    *others, agent = others
    with _typed(proxy, *start):
        eventually(lambda: proxy.slapos("computer", "list").status == 0)
        for words in others:
            assert proxy.slapos(*words).status == 0, words
        with _typed(proxy, *agent):
            assert proxy.slapos("supply", str(HELLOWORLD), "local_computer", "--wait").status == 0
            assert proxy.slapos("request", "web", str(HELLOWORLD)).status == 0
            assert proxy.slapos("service", "destroy", "web").status == 0
        assert proxy.slapos("node", "supervisorctl", "--cfg", agent[-1], "shutdown").status == 0


@contextmanager
def _typed(proxy: _Proxy, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(proxy.folder)}
    with subprocess.Popen(
        [typed.SLAPOS, *words], env=environment, cwd=proxy.folder, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
