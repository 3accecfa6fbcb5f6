"""Caches from which nothing comes back, not even that they are not there: they stop no build, and hold up nobody for long."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from slap.node.core.config import read, write
from slap.system import environment
from tests.system.cloud import SERVICE, Cloud, eventually, release, small_cloud
from tests.system.namespaces import Namespace, a_namespace
from tests.unit.system.unanswered import dropping, mute

_NOTHING = "192.0.2.53"  # where a resolver would be


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """Its node has two caches that are gone, and should upload to one of them."""
    with ExitStack() as stack:
        dropped, silent = stack.enter_context(dropping()), stack.enter_context(mute())
        made = stack.enter_context(small_cloud(2))
        urls = f"http://127.0.0.1:{dropped}\nhttps://127.0.0.1:{silent}"
        section = {"cache-url": urls, "upload-url": urls.partition("\n")[0]}
        write(made.cfg, read(made.cfg).model_copy(update={"networkcache": section}))
        made.slapos("cache", "trust", made.slapos("cache", "keygen").stdout.strip())
        made.slapos("node", "supervisorctl", "restart", "slapos-agent:slapos-agent")
        yield made


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A release that is built in a moment."""
    folder = tmp_path_factory.mktemp("web")
    release(folder, SERVICE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/software.cfg"
    server.shutdown()


@pytest.fixture(scope="module")
def before(cloud: Cloud, url: str) -> float:
    """The release is there; how many seconds passed before it was begun."""
    log = read(cloud.cfg).software_log(url)
    cloud.slapos("supply", url, cloud.computer)
    began = time.monotonic()
    eventually(log.exists)
    waited = time.monotonic() - began
    cloud.supply(url)
    return waited


def test_a_release_is_built_soon_and_says_why(cloud: Cloud, url: str, before: float) -> None:
    (supply,) = [each for each in cloud.master().supplies(cloud.computer) if each.url == url]
    assert supply.message.startswith("built from source: ") and supply.message.count("did not answer in time") == 2
    assert before < 5


def test_what_was_built_waits_to_be_uploaded(cloud: Cloud, url: str, before: float) -> None:
    (waiting,) = eventually(lambda: [each for each in _waiting(cloud) if each["failures"]])
    assert waiting["key"] == url and "within 4 s" in waiting["message"]


@pytest.mark.parametrize(
    "words",
    ["cache list", "cache info {url}", "cache verify {url}", "cache push {url}", "cachelookup binary-sr {url}"],
)  # fmt: skip
def test_no_command_waits_for_long(cloud: Cloud, url: str, before: float, words: str) -> None:
    began = time.monotonic()
    said = cloud.slapos(*words.format(url=url).split(), check=False)
    assert said.status == 1 and "127.0.0.1" in said.stderr
    assert time.monotonic() - began < 5 + 2  # Python starts, on a busy machine


if environment.is_root():

    @contextmanager
    def nowhere() -> Iterator[Namespace]:
        """A computer whose packets all get lost on the way."""
        with a_namespace() as made:
            made.ip("link", "add", "void", "type", "bridge")
            made.ip("link", "set", "void", "up")
            made.ip("address", "add", "192.0.2.1/24", "dev", "void")
            made.ip("neighbour", "add", _NOTHING, "lladdr", "02:00:00:00:00:53", "dev", "void", "nud", "permanent")
            yield made

    ASKING = ("cache list", "cache info {url}", "cache push {url}", "cachelookup url {url}")

    @pytest.mark.parametrize("words", ASKING)
    def test_a_resolver_that_does_not_answer_is_no_different(
        cloud: Cloud, url: str, before: float, words: str, tmp_path: Path
    ) -> None:
        resolver = tmp_path / "resolv.conf"
        resolver.write_text(f"nameserver {_NOTHING}\n")
        with nowhere() as place:
            mounted = ("/bin/sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(resolver))
            there = Cloud(cloud.folder, (*place.prefix, *mounted))
            began = time.monotonic()
            said = there.slapos(*words.format(url=url).split(), "--cfg", _config(cloud, tmp_path), check=False)
            assert said.status == 1 and "cache.example.com" in said.stderr
            assert time.monotonic() - began < 5 + 2


def _waiting(cloud: Cloud) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.slapos("cache", "push", "-f", "json").json
    return found


def _config(cloud: Cloud, folder: Path) -> str:
    url = "http://cache.example.com:5300"
    section = {"cache-url": url, "upload-url": url, "download-dir-url": f"{url}/dir"}
    write(folder / "slapos.cfg", read(cloud.cfg).model_copy(update={"networkcache": section}))
    return str(folder / "slapos.cfg")
