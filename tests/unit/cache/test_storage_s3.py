"""What an object store is asked: as little as possible, since it may be far away; and nothing that it must grant."""

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slap.cache.server.blobs import Blobs
from slap.cache.server.quota import Quota
from slap.cache.storage.s3 import S3, open_s3
from slap.model.errors import NotFound
from slap.system.trust.cloud_keys import CloudKeys


@dataclass
class FarStore:
    """Objects of long ago, which may only be read, `delay` seconds away."""

    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    delay: float = 0.0
    url: str = ""

    def add(self, number: int, content: bytes) -> str:
        digest = f"{number:0128x}"
        self.objects[f"/bucket/blob/{digest[:2]}/{digest}"] = content
        return digest

    @property
    def storage(self) -> S3:
        return open_s3(f"s3://bucket?endpoint={self.url}", CloudKeys("a", "b"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: FarStore

    def do_GET(self) -> None:
        self.store.asked.append(self.command)
        time.sleep(self.store.delay)
        content = self.store.objects.get(self.path)
        if content is None:
            self._send(404, b"")
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, end = (int(wanted[1]), min(int(wanted[2]) + 1, len(content))) if wanted else (0, len(content))
        if wanted and start >= len(content):
            self._send(416, b"")
            return
        ranges = {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"} if wanted else {}
        self._send(206 if wanted else 200, content[start:end], ranges)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self.store.asked.append("PUT")
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._send(403, b"<Error><Code>AccessDenied</Code></Error>")

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        known = {"Content-Length": str(len(body)), "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT", "ETag": '"e"'}
        for name, value in {**known, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def far() -> Iterator[FarStore]:
    store = FarStore()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": store}))
    server.daemon_threads = True
    store.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield store
    server.shutdown()
    server.server_close()


def test_a_use_that_cannot_be_noted_is_no_failure_and_not_tried_again_at_once(far: FarStore) -> None:
    key = f"blob/{far.add(1, b'content')}"
    storage = far.storage
    assert [storage.size(key), storage.size(key)] == [7, 7]
    assert far.asked.count("PUT") == 1


def test_whose_size_is_known_is_read_with_one_request(far: FarStore) -> None:
    key = f"blob/{far.add(1, b'0123456789')}"
    assert b"".join(far.storage.get(key, 2, 5)) == b"234"
    assert far.asked == ["GET"]
    assert b"".join(far.storage.get(key, 2, 500)) == b"23456789"
    assert b"".join(far.storage.get(key, 10, 12)) == b""
    with pytest.raises(NotFound):
        far.storage.get(f"blob/{'f' * 128}", 0, 5)


def test_many_small_blobs_that_are_far_away_come_in_time(far: FarStore, tmp_path: Path) -> None:
    """A client waits for 1.5 seconds for a first byte, and then for each next one."""
    contents = [bytes([number]) * 100_000 for number in range(32)]
    digests = [far.add(number, content) for number, content in enumerate(contents)]
    far.delay = 0.05
    storage = far.storage
    blobs = Blobs(storage, Quota(None, storage.keys), tmp_path)

    async def take() -> tuple[bytes, float, float]:
        begun = time.monotonic()
        stream = await blobs.open_all(digests)
        taken = [await anext(stream.pieces)]
        first = time.monotonic() - begun
        taken.extend([piece async for piece in stream.pieces])
        assert stream.length == sum(map(len, contents))
        return b"".join(taken), first, time.monotonic() - begun

    content, first, whole = asyncio.run(take())
    assert content == b"".join(contents)
    assert first < 1.2 and whole < 2.5
    assert far.asked.count("HEAD") == far.asked.count("GET") == 32
