"""A node and a real cache, over a network that fails in every way: builds come from the cache, or from source, never half."""

import os
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slap.model.software import software_id
from slap.model.state import ReportedSupplyState, SupplyState
from slap.node.core.config import read, write
from slap.node.core.marker import read_marker
from slap.system.files import remove_tree
from tests.system.cloud import Cloud, Result, eventually, small_cloud
from tests.system.relay import Relay, relay
from tests.system.typed import SLAPOS

BIG = 24 << 20
PROFILE = """\
[buildout]
parts = big instance
[big]
recipe = slap:download
url = {url}
sha256 = {sha256}
[instance]
recipe = slap:template
output = ${{buildout:directory}}/instance.cfg
inline =
  [buildout]
  parts =
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@dataclass
class Scene:
    """A cloud whose node has a cache behind a relay, and a web server with a release that nobody else has."""

    cloud: Cloud
    relay: Relay
    web: Path
    web_url: str
    cache_folder: Path
    cache: "subprocess.Popen[bytes]"

    def start_cache(self) -> None:
        argv = [str(SLAPOS), "cache", "serve", "--port", str(self.relay.target), "--folder", str(self.cache_folder)]
        self.cache = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(partial(_answers, self.relay.target))

    def release(self, name: str) -> str:
        """A release of its own for each test: 24 MiB that do not compress."""
        folder = self.web / name
        folder.mkdir()
        content = random.Random(name).randbytes(BIG)
        (folder / "big").write_bytes(content)
        url = f"{self.web_url}/{name}"
        profile = PROFILE.format(url=f"{url}/big", sha256=sha256(content).hexdigest())
        (folder / "software.cfg").write_text(profile)
        return f"{url}/software.cfg"

    def supply(self, url: str, wait: bool = True) -> Result:
        words = ("--wait", "--timeout", "60") if wait else ()
        return self.cloud.slapos("supply", url, self.cloud.computer, *words)

    def remove(self, url: str) -> None:
        self.cloud.slapos("remove", url, self.cloud.computer)
        eventually(lambda: not any(each.url == url for each in self._supplies() if each.requested != "destroyed"))
        eventually(lambda: not self.folder(url).exists())
        eventually(
            lambda: all(each.reported == ReportedSupplyState.DESTROYED for each in self._supplies() if each.url == url)
        )

    def message(self, url: str) -> str:
        """What is told of the release once it is there."""

        def available() -> list[str]:
            return [
                each.message or "-" for each in self._supplies()
                if each.url == url and each.requested == SupplyState.AVAILABLE and each.is_current
                and each.reported == ReportedSupplyState.AVAILABLE
            ]  # fmt: skip

        return eventually(available, 60)[0]

    def publish(self, url: str) -> None:
        """Build it, wait until it is in the cache, remove it with all its chunks."""
        self.supply(url)
        eventually(partial(self.is_listed, url))
        self.remove(url)
        self.forget_chunks()

    def is_listed(self, url: str) -> bool:
        return any(row["release"] == url for row in self.cloud.slapos("cache", "list", "-f", "json").json)

    def forget_chunks(self) -> None:
        for path in read(self.cloud.cfg).chunks.glob("*/*"):
            path.unlink()

    def forgive(self) -> None:
        """As if the while had passed for which a bad cache is left alone."""
        connection = sqlite3.connect(read(self.cloud.cfg).cache_file, timeout=10)
        with suppress(sqlite3.OperationalError), connection:
            connection.execute("delete from bad")
        connection.close()

    def folder(self, url: str) -> Path:
        return read(self.cloud.cfg).software_root / software_id(url)

    def build_log(self, url: str) -> Path:
        return read(self.cloud.cfg).software_log(url)

    def kill_agent(self) -> None:
        state = self.cloud.processes("slapos-agent")[0]
        os.kill(state.pid, signal.SIGKILL)
        eventually(lambda: self.cloud.processes("slapos-agent")[0].pid not in (0, state.pid))

    def is_whole(self, url: str) -> bool:
        big = self.folder(url) / "parts/big"
        sizes = [path.stat().st_size for path in big.rglob("*") if path.is_file()] if big.exists() else []
        return read_marker(self.folder(url)) is not None and BIG in sizes

    def leftovers(self) -> list[str]:
        root = read(self.cloud.cfg).software_root
        return [path.name for path in root.glob(".f*-*")]

    def _supplies(self) -> list:  # type: ignore[type-arg]
        return list(self.cloud.master().supplies(self.cloud.computer))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    web, store = tmp_path_factory.mktemp("web"), tmp_path_factory.mktemp("cache")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(web)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with small_cloud(2) as cloud, relay(_free_port()) as line:
        made = Scene(cloud, line, web, f"http://127.0.0.1:{server.server_port}", store, None)  # type: ignore[arg-type]
        made.start_cache()
        section = {"cache-url": line.url, "upload-url": line.url}
        write(cloud.cfg, read(cloud.cfg).model_copy(update={"networkcache": section}))
        key = cloud.slapos("cache", "keygen", "--comment", "builder").stdout.strip()
        cloud.slapos("cache", "trust", key)
        made.kill_agent()
        try:
            yield made
        finally:
            made.cache.kill()
            made.cache.wait()
            server.shutdown()


@pytest.fixture(autouse=True)
def _honest(scene: Scene) -> None:
    scene.relay.mode, scene.relay.rate = "honest", 0.0
    scene.forgive()


def test_what_one_built_comes_from_the_cache(scene: Scene) -> None:
    url = scene.release("first")
    scene.publish(url)
    shown = scene.supply(url).stderr
    message = scene.message(url)
    assert message.startswith("from cache, signed by builder (") and " MiB in " in message
    assert message in shown and message in scene.cloud.slapos("node", "software").stderr
    assert not scene.build_log(url).exists() and scene.is_whole(url)
    info = scene.cloud.slapos("cache", "info", url).stdout
    assert "builder (" in info and f"{url.rpartition('/')[0]}/big" in info
    assert scene.cloud.slapos("cache", "verify", url).stdout.strip().endswith("whole")
    assert scene.cloud.slapos("cache", "push", url, "-f", "json").json[0]["key"] == url


@pytest.mark.parametrize("mode", ["flip", "hang", "drip", "refuse"])
def test_a_cache_that_is_of_no_use_stops_no_build(scene: Scene, mode: str) -> None:
    url = scene.release(mode)
    scene.publish(url)
    scene.relay.mode = mode
    started = time.monotonic()
    scene.supply(url)
    took = time.monotonic() - started
    message = scene.message(url)
    assert message.startswith("built from source: ") and scene.relay.url in message
    assert scene.is_whole(url) and scene.leftovers() == []
    assert took < 5 + 6  # the build itself takes a second or two, on a busy machine more


def test_a_key_that_is_not_trusted_any_more_counts_for_nothing(scene: Scene) -> None:
    url = scene.release("untrusted")
    scene.publish(url)
    line = scene.cloud.slapos("cache", "trust", "-f", "json").json[0]
    public = (scene.cloud.folder / "etc/cache.key.pub").read_text().strip()
    scene.cloud.slapos("cache", "trust", "--remove", line["id"][:16])
    scene.supply(url)
    assert "not trusted here" in scene.message(url)
    scene.cloud.slapos("cache", "trust", public)


def test_a_cache_that_is_killed_during_the_download(scene: Scene) -> None:
    url = scene.release("killed-cache")
    scene.publish(url)
    scene.relay.rate, before = 4e6, scene.relay.carried
    scene.supply(url, wait=False)
    eventually(lambda: scene.relay.carried > before + (2 << 20))
    scene.cache.kill()
    scene.cache.wait()
    assert scene.message(url).startswith("built from source: ")
    assert scene.is_whole(url) and scene.leftovers() == []
    scene.start_cache()


def test_an_agent_that_is_killed_during_the_download(scene: Scene) -> None:
    url = scene.release("killed-download")
    scene.publish(url)
    scene.relay.rate, before = 4e6, scene.relay.carried
    scene.supply(url, wait=False)
    eventually(lambda: scene.relay.carried > before + (4 << 20))
    assert read_marker(scene.folder(url)) is None
    scene.kill_agent()
    scene.relay.rate = 0.0
    message = scene.message(url)
    assert message.startswith("from cache") and "were here" in message
    assert scene.is_whole(url) and scene.leftovers() == []


def test_an_agent_that_is_killed_during_the_upload(scene: Scene) -> None:
    url = scene.release("killed-upload")
    scene.relay.rate = 2e6
    scene.supply(url)
    eventually(lambda: any((scene.cache_folder / "objects/aside").iterdir()))
    scene.kill_agent()
    assert not scene.is_listed(url)
    scene.relay.rate = 0.0
    eventually(partial(scene.is_listed, url), 60)
    assert scene.cloud.slapos("cache", "verify", url).stdout.strip().endswith("whole")


def test_single_passes_leave_their_uploads_to_a_process_of_its_own(scene: Scene) -> None:
    url = scene.release("by-hand")
    scene.cloud.slapos("node", "supervisorctl", "stop", "slapos-agent:slapos-agent")
    try:
        scene.supply(url, wait=False)
        scene.cloud.slapos("node", "software")
        eventually(partial(scene.is_listed, url), 60)
    finally:
        scene.cloud.slapos("node", "supervisorctl", "start", "slapos-agent:slapos-agent")


def test_a_release_that_no_cache_has_takes_its_components_from_there(scene: Scene) -> None:
    """Two releases with one shared part: the second is built without building that."""
    big = scene.release("shared-part").removesuffix("software.cfg")
    profile = (scene.web / "shared-part/software.cfg").read_text()
    shared = read(scene.cloud.cfg).shared_parts
    for name in ("user-1", "user-2"):
        (scene.web / name).mkdir()
        text = profile.replace("recipe = slap:download\n", "recipe = slap:download\nshared = true\n")
        (scene.web / name / "software.cfg").write_text(
            f"{text}# {name} uses ${{big:location}} of {big}\n  # ${{big:location}}\n"
        )
    first, second = (f"{scene.web_url}/{name}/software.cfg" for name in ("user-1", "user-2"))
    scene.publish(first)
    (folder,) = (shared / "big").glob("[0-9a-f]*")
    remove_tree(folder)
    (scene.web / "shared-part/big").unlink()  # nobody can build it any more
    remove_tree(read(scene.cloud.cfg).download_cache)
    scene.supply(second)
    assert scene.message(second) == "-" and folder.is_dir()
    remove_tree(folder)
    scene.supply(first)
    assert scene.message(first).startswith("from cache") and folder.is_dir()


def test_a_revoked_key_counts_for_nothing_everywhere(scene: Scene) -> None:
    """The last one: its key cannot be trusted again."""
    url = scene.release("revoked")
    scene.publish(url)
    key_file = str(scene.cloud.folder / "etc/cache.key")
    scene.cloud.slapos("cache", "revoke", "--key-file", key_file, "--reason", "stolen")
    scene.supply(url)
    assert "was revoked" in scene.message(url)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
