"""The real slapos.core beside ours: installed once from its package, run as somebody without rights."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from slap.system import files
from tests.system.cloud import Result, as_nobody, eventually, short_folder
from tests.system.kept import kept

# Recipes beside the node: an instance is made offline, where a plain buildout finds no egg but those of its own Python.
PACKAGES = (
    "slapos.core==1.26.1",
    "slapos.libnetworkcache==0.30",
    "slapos.cookbook==1.0.514",
    "slapos.toolbox==0.170",
    "slapos.recipe.template==5.1",
    "slapos.recipe.build==0.66",
    "zc.recipe.egg==6.0.0",
    "setuptools",
)
OLDEST_PYTHON = (3, 12)  # on an older one the package lacks its master and its node, without a word
NO_PYTHON = "No Python 3.12 or newer is in PATH or in ~/.pyenv/versions: slapos.core cannot run on this machine."


@dataclass(frozen=True)
class Peer:
    """slapos.core at work in a folder, which belongs to the user that it runs as."""

    folder: Path
    binaries: Path

    @property
    def cfg(self) -> Path:
        return self.folder / "slapos.cfg"

    def slapos(self, *words: str, check: bool = True, timeout: float = 300) -> Result:
        """Type one of their commands; with `check` it has to succeed."""
        done = subprocess.run(
            self._argv(*words), env=self._environment, cwd=self.folder, capture_output=True, text=True, timeout=timeout
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        assert not check or result.status == 0, f"their slapos {' '.join(words)}: {result}"
        return result

    @contextmanager
    def background(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """One of their commands that runs until the block ends; what it says goes to NAME.log."""
        with (self.folder / f"{'-'.join(words[:2])}.log").open("wb") as log:
            started = subprocess.Popen(
                self._argv(*words),
                env=self._environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            yield started
        finally:
            os.killpg(started.pid, signal.SIGTERM)
            started.wait(20)

    @contextmanager
    def slapproxy(self) -> Iterator[None]:
        """Their master, as [slapproxy] of the configuration says; until the block ends."""
        with self.background("proxy", "start", "--cfg", str(self.cfg)):
            eventually(lambda: _answers(f"{self.master_url}getRunId"), 60, pause=0.1)
            yield

    @property
    def master_url(self) -> str:
        lines = self.cfg.read_text().splitlines()
        return next(line.partition("=")[2].strip() for line in lines if line.startswith("master_url"))

    def _argv(self, *words: str) -> tuple[str, ...]:
        return as_nobody((str(self.binaries / "slapos"), *words))

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.binaries}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder),
            "SLAPOS_CONFIGURATION": str(self.cfg),
            "SLAPOS_CLIENT_CONFIGURATION": str(self.folder / "client.cfg"),
        }


@contextmanager
def peer(master_url: str = "", computer: str = "COMP-PEER", partitions: int = 5) -> Iterator[Peer]:
    """slapos.core configured for a master, or for a slapproxy of its own; skips where it cannot run at all."""
    with short_folder() as folder:
        made = Peer(folder, installed())
        made.cfg.write_text(configuration(folder, master_url, computer, partitions))
        url = made.master_url
        (folder / "client.cfg").write_text(f"[slapos]\nmaster_url = {url}\nmaster_rest_url = {url}hateoas\n")
        for name in ("software", "instance"):
            (folder / name).mkdir(0o755)
        if os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                os.chown(path, 65534, 65534)
        yield made


def configuration(folder: Path, master_url: str, computer: str, partitions: int) -> str:
    """A slapos.cfg as theirs reads it, for a node, a client and a slapproxy at once."""
    port = free_port()
    return f"""\
[slapos]
master_url = {master_url or f"http://127.0.0.1:{port}/"}
computer_id = {computer}
software_root = {folder}/software
instance_root = {folder}/instance
root_check = False
pidfile_software = {folder}/software.pid
pidfile_instance = {folder}/instance.pid
pidfile_report = {folder}/report.pid

[slapformat]
alter_user = false
alter_network = false
create_tap = false
create_tun = false
partition_amount = {partitions}
computer_xml = {folder}/slapos.xml
partition_base_name = slappart
user_base_name = slapuser
tap_base_name = slaptap
interface_name = lo
ipv4_local_network = 127.{port // 256}.{port % 256}.0/24

[slapproxy]
host = 127.0.0.1
port = {port}
database_uri = {folder}/proxy.db
"""


def eggs_of_all() -> Path:
    """Where all releases of these tests have their eggs, as many a developer has it: they are the same seventy."""
    folder = _kept() / "eggs"
    folder.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)  # who builds them
    return folder


def _kept() -> Path:
    """For these very packages."""
    folder = kept() / f"slapos-{hashlib.sha256(' '.join(PACKAGES).encode()).hexdigest()[:16]}"
    folder.mkdir(exist_ok=True)
    return folder


@cache
def installed() -> Path:
    """The folder with their commands, made once for all tests to come; skips the test without a Python for it."""
    python = find_python()
    if python is None:
        print(NO_PYTHON)
        pytest.skip(NO_PYTHON)
    folder = _kept() / PACKAGES[0].replace("==", "-")
    with files.exclusive(folder.with_suffix(".lock"), wait=True):
        if files.read_or(folder / "complete", "") != "\n".join(PACKAGES):
            _install(python, folder)
    return folder / "bin"


def find_python() -> Path | None:
    """A Python that is new enough; the oldest of them, which most packages are made for."""
    named = (Path(each) / f"python3.{minor}" for minor in range(12, 20) for each in os.get_exec_path())
    managed = sorted((Path.home() / ".pyenv/versions").glob("3.*/bin/python"), key=_version)
    return next((each for each in (*named, *managed) if os.access(each, os.X_OK) and _is_new_enough(each)), None)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _version(python: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in python.parents[1].name.split(".") if part.isdigit())


def _is_new_enough(python: Path) -> bool:
    """Asked of the program itself: a shim of pyenv may have nothing behind it."""
    asked = subprocess.run(
        [python, "-c", "import sys, venv; print(*sys.version_info[:2])"], capture_output=True, text=True
    )
    return asked.returncode == 0 and tuple(map(int, asked.stdout.split())) >= OLDEST_PYTHON


def _install(python: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", folder], check=True, timeout=300)
    pip = (folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, *PACKAGES], check=True, timeout=1800)
    files.write(folder / "complete", "\n".join(PACKAGES))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
