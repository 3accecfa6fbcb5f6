"""A real cache server in a folder of its own, and hands to talk to it."""

import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slap.model.cache.manifest import ChunkRef, Manifest
from tests.system.cloud import eventually
from tests.system.slapos_peer import free_port
from tests.system.typed import SLAPOS


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class CacheServer:
    """`slapos cache serve`, which can be killed and started again at the same port."""

    folder: Path
    settings: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    tls: ssl.SSLContext | None = None
    home: Path = Path("/nonexistent")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        cfg = self.folder / "cache.cfg"
        cfg.write_text(f"[cache]\nfolder = data\nport = {self.port}\n{self.settings}")
        with (self.folder / "log").open("ab") as log:
            environment = {"HOME": str(self.home), "PATH": "/usr/bin:/bin"}
            argv: list[str | Path] = [SLAPOS, "cache", "serve", "--cfg", cfg]
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)
        eventually(self._answers, 30)

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process
        self.process.send_signal(number)
        self.process.wait(20)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = self._connection()
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def put(self, content: bytes) -> str:
        digest = sha512(content)
        assert self.ask("PUT", f"/api/v1/blobs/{digest}", content).status in (200, 201)
        return digest

    def status(self) -> Any:
        return self.ask("GET", "/api/v1/status").json

    def objects(self) -> list[Path]:
        """All files that are visible as objects."""
        root = self.folder / "data/objects"
        return [path for path in root.rglob("*") if path.is_file() and path.relative_to(root).parts[0] != "aside"]

    def asides(self) -> list[Path]:
        return list((self.folder / "data/objects/aside").iterdir())

    @contextmanager
    def raw(self) -> Iterator[socket.socket]:
        """A connection on which one may misbehave."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            yield connection

    def memory(self) -> int:
        """The most memory that the server had, in bytes."""
        assert self.process
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def _connection(self) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def _answers(self) -> bool:
        assert self.process and self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return self.ask("GET", "/health").status == 200
        except OSError:
            return False


@contextmanager
def cache_server(folder: Path, settings: str = "", tls: ssl.SSLContext | None = None) -> Iterator[CacheServer]:
    server = CacheServer(folder, settings, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.kill(signal.SIGTERM)


def sha512(content: bytes) -> str:
    return hashlib.sha512(content).hexdigest()


def noise(size: int) -> bytes:
    return os.urandom(size)


def empty_manifest() -> bytes:
    """One that can be read, of a chunk that is nowhere."""
    chunk = ChunkRef("0" * 128, 9, 5)
    return Manifest(path="/a", root="/", embeds_path=False, digest="0" * 128, chunks=(chunk,)).encoded()


def is_closed_within(connection: socket.socket, seconds: float) -> bool:
    """Whether the other end hangs up, whatever it says before."""
    connection.settimeout(seconds)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            if not connection.recv(1 << 16):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return False
