"""A master with TLS and a node of its own, typed as an operator types it."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slap.client.config import read_configuration
from slap.client.connect import connect
from slap.client.master import Master
from tests.system import typed
from tests.system.cloud import Result, eventually, short_folder
from tests.system.typed import SLAPOS


@dataclass(frozen=True)
class SecureCloud:
    """A master in a folder, and a node that is not registered yet."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def node_cfg(self) -> Path:
        return self.folder / "node/etc/slapos.cfg"

    def slapos(self, *words: str, check: bool = True, stdin: str = "") -> Result:
        done = typed.run(words, self.environment, self.folder, 300, stdin)
        result = Result(done.returncode, done.stdout, done.stderr)
        assert not check or result.status == 0, f"slapos {' '.join(words)}: {result}"
        return result

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "SLAPOS_CLIENT_CONFIGURATION": str(self.folder / "client.cfg"),
        }

    def configure(self) -> None:
        """Make a user with a certificate, who trusts the master's authority."""
        self.slapos("master", "user", "alice", "--cfg", "master.cfg", "--certificate", "alice.pem")
        authority = subprocess.run(
            ["curl", "-sSk", f"{self.url}/api/v1/authority"], capture_output=True, text=True, timeout=30, check=True
        )
        (self.folder / "ca.pem").write_text(json.loads(authority.stdout)["certificate"])
        account = "cert_file = alice.pem\nkey_file = alice.pem"
        (self.folder / "client.cfg").write_text(
            f"[slapos]\nmaster_url = {self.url}\nmaster_ca_file = ca.pem\n[slapconsole]\n{account}\n"
        )

    def master(self) -> Master:
        found = read_configuration(self.folder / "client.cfg")
        return connect(found.master_url, found.credentials)

    def register(self, token: str, name: str = "box", check: bool = True) -> Result:
        root = str(self.folder / "node")
        words = ("--master-url", self.url, "--root", root, "--partition-number", "3", "--token-file", "-")
        return self.slapos("node", "register", name, *words, check=check, stdin=token)

    @contextmanager
    def agent(self) -> Iterator[Path]:
        """The node's agent, while the block runs; its log."""
        log = self.folder / "agent.log"
        with self._running("node", "agent", "--cfg", str(self.node_cfg), log=log):
            yield log

    @contextmanager
    def serving(self, **settings: object) -> Iterator[None]:
        lines = {
            "database_url": f"sqlite:///{self.folder}/m.sqlite",
            "port": self.port,
            "tls": "own",
            "release_folders": "/",
            **settings,
        }
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        (self.folder / "master.cfg").write_text(f"[master]\n{text}")
        with self._running("master", "start", "--cfg", "master.cfg", log=self.folder / "master.log"):
            eventually(self._listens)
            yield

    def end_services(self) -> None:
        found = subprocess.run(["pgrep", "-f", f"{self.folder}/node"], capture_output=True, text=True, check=False)
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @contextmanager
    def _running(self, *words: str, log: Path) -> Iterator[None]:
        with log.open("a") as output:
            process = subprocess.Popen(
                [SLAPOS, *words], env=self.environment, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def secure_cloud() -> Iterator[SecureCloud]:
    with short_folder() as folder, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        holder.close()
        found = SecureCloud(folder, port)
        try:
            yield found
        finally:
            found.end_services()
