"""A pass in which nothing changed, without an agent: what it asks of the master, and what it runs."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.system.cloud import SERVICE, Cloud, release, small_cloud

PARTITIONS = 2


@contextmanager
def counted(target: str) -> Iterator[tuple[str, list[str]]]:
    """A URL that leads to the master, and what was asked by it."""
    asked: list[str] = []

    class Counter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
            request = urllib.request.Request(target + self.path, body or None, kept, method=self.command)
            with urllib.request.urlopen(request, timeout=30) as answer:
                said = answer.read()
                self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Counter) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def buildouts(cloud: Cloud) -> list[int]:
    """When each partition had its last buildout run."""
    return sorted(log.stat().st_mtime_ns for log in (cloud.folder / "log/partition").glob("*/buildout.log"))


def test_nothing_changed_means_one_request_and_no_buildout(tmp_path: Path) -> None:
    url = release(tmp_path / "quiet", SERVICE)
    with small_cloud(PARTITIONS) as cloud:
        cloud.supply(url)
        for number in range(PARTITIONS):
            cloud.slapos("request", f"quiet-{number}", str(url))
        cloud.slapos("node", "stop", "slapos-agent")
        with counted(cloud.master_url) as (master, asked):
            cloud.slapos("node", "instance", "--master-url", master)
            before = buildouts(cloud)
            asked.clear()
            cloud.slapos("node", "instance", "--master-url", master)
            assert [each.partition("?")[0] for each in asked] == [f"GET /api/v1/computers/{cloud.computer}/state"]
        assert len(before) == PARTITIONS
        assert buildouts(cloud) == before
