"""Images for real: tiny is built and started, and what is no image for anybody is refused."""

import os
import random
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from hashlib import sha512
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slap.model.vm.image import FailedImage, FetchingImage, ImageEntry, ReadyImage
from slap.model.vm.seed import Seed
from slap.node.cache.tools import CacheTools
from slap.node.image.fetch import Fetcher
from slap.node.image.queue import ImageQueue
from slap.node.image.store import ImageStore
from slap.node.vm.start import make_seed
from slap.system.clock import SystemClock
from slap.system.process import SystemRunner
from tests.system.cache_server import cache_server
from tests.system.cloud import eventually
from tests.system.tiny import ImageNode, Machine, image_node, tiny_image

SCRIPT = "#!/bin/sh\necho $(hostname) >> /root/ran\n"
IDENTITY = "cat /etc/machine-id; dropbearkey -y -f /etc/dropbear/dropbear_ed25519_host_key | grep ^ssh"


@pytest.fixture
def node() -> Iterator[ImageNode]:
    with image_node() as made:
        yield made


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


def test_tiny_starts_as_its_seed_says_keeps_what_is_written_and_ends_at_the_button(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    disk, seed = tmp_path / "disk.qcow2", tmp_path / "seed.iso"
    qemu_img("create", "-f", "qcow2", "-b", tiny_image(), "-F", "qcow2", disk, "1G")
    key = (tmp_path / "key.pub").read_text()
    make_seed(Seed(identity="one", hostname="web-1", ssh_keys=(key,), user_data=SCRIPT), seed)
    machine = Machine(disk, seed, tmp_path / "key")
    try:
        machine.start()
        machine.until_ssh_answers()
        assert machine.ssh("hostname; df -m / | awk 'NR == 2 {print ($2 > 900)}'").split() == ["web-1", "1"]
        with urllib.request.urlopen(f"http://127.0.0.1:{machine.web_port}/", timeout=10) as answer:
            assert answer.read() == b"It works.\n"
        eventually(lambda: machine.ssh("cat /root/ran") == "web-1")
        before = machine.ssh(f"echo precious > /root/data; {IDENTITY}").split()
        machine.press_power()
        machine.start()
        machine.until_ssh_answers()
        assert machine.ssh(f"cat /root/data /root/ran; {IDENTITY}").split() == ["precious", "web-1", *before]
        # As after a start with the seed of another machine.
        after = machine.ssh(f"echo other > /etc/instance-id; /etc/boot.sh > /dev/null 2>&1; {IDENTITY}").split()
        assert (len(after), set(before) & set(after)) == (len(before), {"ssh-ed25519", "root@web-1"})
        eventually(lambda: machine.ssh("cat /root/ran").split() == ["web-1", "web-1"])
    finally:
        machine.end()


def test_images_are_added_listed_and_removed_and_what_is_broken_is_refused(node: ImageNode, tmp_path: Path) -> None:
    image = tiny_image()
    node.slapos("image", "add", str(image), "--name", "tiny")
    listed = node.slapos("image", "list", "-f", "json").json
    assert [(row["name"], row["format"], row["origin"]) for row in listed] == [(["tiny"], "qcow2", "added")]
    assert listed[0]["sha512"] == sha512(image.read_bytes()).hexdigest()
    for name, words in {"cut": "not a whole disk image", "above": "only what differs", "packed": "It is gzip"}.items():
        result = node.slapos("image", "add", str(broken(name, image, tmp_path)), "--name", "bad", check=False)
        assert (result.status, words in result.stderr) == (1, True), result
    result = node.slapos("image", "add", str(image), "--name", "bad", "--sha512", "0" * 128, check=False)
    assert (result.status, "is not what was expected" in result.stderr) == (1, True)
    assert node.slapos("image", "info", "tiny", "-f", "json").json["names"] == ["tiny"]
    node.slapos("image", "remove", "tiny")
    assert node.slapos("image", "list", "-f", "json").json == []
    left = [path for path in node.config.images.rglob("*") if path.is_file() and path.parent.name != "packages"]
    assert left == []


def broken(name: str, image: Path, folder: Path) -> Path:
    """What looks like an image, and is none that anybody could start from."""
    path = folder / f"{name}.img"
    if name == "cut":
        content = bytearray(image.read_bytes())
        content[64 << 10 : 192 << 10] = random.Random(1).randbytes(128 << 10)
        path.write_bytes(content)
    elif name == "above":
        qemu_img("create", "-f", "qcow2", "-b", image, "-F", "qcow2", path)
    else:
        path.write_bytes(b"\x1f\x8b" + bytes(1000))
    return path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_a_full_disk_is_told_and_nothing_of_the_image_stays(node: ImageNode) -> None:
    images = node.config.images
    images.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=76M", "tmpfs", images], check=True)
    try:
        result = node.slapos("image", "add", str(tiny_image()), "--name", "tiny", check=False)
        assert (result.status, "There is no room for the image." in result.stderr) == (1, True)
        assert [path for path in images.rglob("*") if path.is_file()] == []
    finally:
        subprocess.run(["umount", "--lazy", images], check=True)


class Slow(BaseHTTPRequestHandler):
    """A server of one file, which sends slowly until it is asked for a rest of it."""

    content = random.Random(7).randbytes(4 << 20)
    ranges: list[str] = []

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.ranges.append(self.headers.get("Range", ""))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        with suppress(BrokenPipeError):
            self._send(start)

    def _send(self, start: int) -> None:
        for at in range(start, len(self.content), 1 << 18):
            self.wfile.write(self.content[at : at + (1 << 18)])
            time.sleep(0 if start else 0.3)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_a_download_that_is_killed_goes_on_where_it_was(node: ImageNode) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    digest, url = sha512(Slow.content).hexdigest(), f"http://127.0.0.1:{server.server_port}/disk.img"
    words = ("image", "add", url, "--name", "disk")
    with server:
        child = subprocess.Popen(node.argv(*words, "--sha512", digest), env=node.env(), stderr=subprocess.DEVNULL)
        arriving = ImageStore(node.config.images).arriving(ImageEntry(url=url, sha512=digest))
        partial = arriving / f".{digest}.partial"
        eventually(lambda: partial.exists() and partial.stat().st_size > 1 << 20)
        child.send_signal(signal.SIGKILL)
        child.wait()
        node.slapos(*words, "--sha512", digest)
        server.shutdown()
    assert (Slow.ranges[0], Slow.ranges[1] > "bytes=1") == ("", True)
    assert not arriving.exists()
    assert (node.config.images / "disks" / digest).read_bytes() == Slow.content


def a_desk(node: ImageNode) -> tuple[ImageQueue, ImageStore]:
    node.config.make_folders()
    store, clock = ImageStore(node.config.images), SystemClock()
    tools = CacheTools(node.config.model_copy(update={"networkcache": node_section(node)}), clock)
    return ImageQueue(Fetcher(store, tools, SystemRunner()), clock), store


def node_section(node: ImageNode) -> dict[str, str]:
    text = node.cfg.read_text().partition("[networkcache]")[2]
    return dict(line.split(" = ", 1) for line in text.strip().splitlines() if " = " in line)


def test_a_url_that_hangs_holds_nobody_up(node: ImageNode) -> None:
    desk, store = a_desk(node)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        hanging = ImageEntry(url=f"http://127.0.0.1:{silent.getsockname()[1]}/x", sha512="a" * 128)
        started = time.monotonic()
        desk.want("slappart0", [hanging, ImageEntry(name="nowhere")])
        assert time.monotonic() - started < 2
        told = eventually(lambda: isinstance(found := store.told(ImageEntry(name="nowhere")), FailedImage) and found)
        assert "no cache to take it from" in told.message
        assert store.told(hanging) == FetchingImage()


def test_an_image_goes_through_the_cache_signed_and_once_for_all_who_ask(node: ImageNode, tmp_path: Path) -> None:
    with cache_server(tmp_path) as server, image_node() as taker:
        url = server.url
        node.configure(cache_url=url, upload_url=url, signature_private_key_file=str(node.folder / "key"))
        taker.configure(cache_url=url)
        public = node.slapos("cache", "keygen").stdout.strip()
        node.slapos("image", "add", str(tiny_image()), "--name", "tiny")
        node.slapos("image", "push", "tiny")
        desk, store = a_desk(taker)
        entry = ImageEntry(name="tiny")
        desk.want("slappart0", [entry])
        told = eventually(lambda: isinstance(found := store.told(entry), FailedImage) and found)
        assert "not trusted here" in told.message
        taker.slapos("cache", "trust", public)
        assert taker.slapos("image", "info", "tiny", "-f", "json").json["caches"] == [url]
        desk, store = a_desk(taker)
        for partition in ("slappart0", "slappart1", "slappart2"):
            desk.want(partition, [entry])
        ready = eventually(lambda: isinstance(found := store.told(entry), ReadyImage) and found)
        assert ready.path.read_bytes() == tiny_image().read_bytes()
        assert [row["origin"] for row in taker.slapos("image", "list", "-f", "json").json] == ["cache"]
