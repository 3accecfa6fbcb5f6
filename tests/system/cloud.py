"""A small cloud of real processes in a folder of its own, driven by typed commands as a user would."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from slap.client.config import read_configuration
from slap.client.master import Master
from slap.client.native import NativeMaster
from slap.node.core.config import read
from slap.node.partition.supervision import connect
from slap.system.supervisor import News, ProcessInfo
from tests.system import typed
from tests.system.typed import SLAPOS

PROJECT = Path(__file__).parents[2]
HELLOWORLD = PROJECT / "software/helloworld/software.cfg"

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Result:
    """How a typed command ended, and what it said."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Cloud:
    """A master, a node and its agent; `slapos` types a command at it, which starts with `prefix` where that is said."""

    folder: Path
    prefix: tuple[str, ...] = ()

    @property
    def cfg(self) -> Path:
        return self.folder / "etc/slapos.cfg"

    @property
    def srv(self) -> Path:
        return self.folder / "srv"

    @property
    def computer(self) -> str:
        return self.master().computers()[0].guid

    def slapos(self, *words: str, check: bool = True, timeout: float = 120, stdin: str = "") -> Result:
        """Type a command; with `check` it has to succeed."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "SLAPOS_CLIENT_CONFIGURATION": str(self.folder / "client.cfg"),
            "SLAPOS_CONFIGURATION": str(self.cfg),
        }
        if self.prefix:
            argv = (*self.prefix, str(SLAPOS), *words)
            done = subprocess.run(
                argv, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=timeout, input=stdin
            )
        else:
            done = typed.run(words, environment, self.folder, timeout, stdin)
        result = Result(done.returncode, done.stdout, done.stderr)
        assert not check or result.status == 0, f"slapos {' '.join(words)}: {result}"
        return result

    @property
    def master_url(self) -> str:
        return read_configuration(self.folder / "client.cfg").master_url

    def processes(self, partition: str) -> list[ProcessInfo]:
        """What supervisord runs in a partition."""
        return connect(read(self.cfg), News()).processes(partition)

    def master(self) -> Master:
        found = read_configuration(self.folder / "client.cfg")
        return NativeMaster(found.master_url, found.token)

    def up(self, partitions: int = 10) -> None:
        words = ("standalone", "up", "--folder", str(self.folder), "--partition-number", str(partitions))
        self.slapos(*words, "--no-example")

    def down(self) -> None:
        self.slapos("standalone", "down", "--folder", str(self.folder))

    def supply(self, url: Path | str = HELLOWORLD) -> None:
        self.slapos("supply", str(url), self.computer, "--wait", "--timeout", "600", timeout=660)


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder for a node. Its path is short: sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="slap-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def small_cloud(partitions: int = 10) -> Iterator[Cloud]:
    """A cloud that is gone with all of its processes and files afterwards."""
    with short_folder() as folder:
        cloud = Cloud(folder)
        try:
            cloud.up(partitions)
            yield cloud
        finally:
            cloud.down()


def set_options(cfg: Path, **options: str) -> None:
    """Change what a configuration file says already."""
    lines = cfg.read_text().splitlines()
    said = [(line, line.partition(" =")[0]) for line in lines]
    assert options.keys() <= {name for _, name in said}
    cfg.write_text("".join(f"{name} = {options[name]}\n" if name in options else f"{line}\n" for line, name in said))


def as_nobody(argv: tuple[str, ...]) -> tuple[str, ...]:
    """A command line that makes root somebody without rights, but for reading: the project may lie in root's own home."""
    if os.geteuid() != 0:
        return argv
    rights = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
    return ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *rights, "--", *argv)


def eventually(look: Callable[[], Seen | Literal[False] | None], seconds: float = 30, pause: float = 0.02) -> Seen:
    """What `look` returns as soon as that is true, or fails after some time with the last it saw.

    What is waited for is mostly at work: looking, which may be a command or a login, takes half of the time at most.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if seen := look():
            return seen
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds} s"
        time.sleep(max(pause, time.monotonic() - began))


def release(folder: Path, instance: str, schema: dict[str, Any] | None = None) -> Path:
    """A software release in a folder: its instance profile as it stands, and the schema of its parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    inline = "\n".join(f"    {line}" if line else "" for line in instance.replace("${", "$${").splitlines())
    (folder / "software.cfg").write_text(
        "[buildout]\nparts = instance\n\n[instance]\nrecipe = slap:template\n"
        f"output = ${{buildout:directory}}/instance.cfg\ninline =\n{inline}\n"
    )
    if schema is not None:
        types = {"default": {"title": "Default", "description": "", "request": "schema.json", "index": 0}}
        (folder / "software.cfg.json").write_text(json.dumps({"name": "Test", "software-type": types}))
        (folder / "schema.json").write_text(json.dumps(schema))
    return folder / "software.cfg"


# The simplest service there is; the profile of a test adds to it.
SERVICE = """\
[buildout]
parts = service publish
[service]
recipe = slap:service
command-line = /bin/sleep 100000
[publish]
recipe = slap:publish
answer = 42
"""
