"""A node whose disk is full: who orders something is told so, what runs goes on, and with room again all goes on."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from slap.model.state import Status
from slap.system.processes import NODE_MARK
from tests.system.bad.releases import make_releases
from tests.system.chaos import Processes
from tests.system.cloud import Cloud, eventually, short_folder, small_cloud
from tests.system.typed import SLAPOS

ROOM = 6 << 20


@dataclass(frozen=True)
class SmallNode:
    """A second node of a cloud, with little room; a service runs on it."""

    cloud: Cloud
    folder: Path
    releases: Path

    def type(self, *words: str) -> str:
        """What a command says that must fail."""
        result = self.cloud.slapos(*words, "--timeout", "20", check=False)
        assert result.status == 1, result
        assert "Traceback" not in result.stderr
        return result.stderr

    def release(self, name: str) -> str:
        return str(self.releases / name / "software.cfg")

    def bystander(self) -> tuple[Status, list[int]]:
        seen = self.cloud.master().instances("bystander")[0]
        return seen.status, [each.pid for each in Cloud(self.folder).processes(seen.partition)]

    def status(self, reference: str) -> Status:
        return self.cloud.master().instances(reference)[0].status


@pytest.fixture
def node(tmp_path: Path) -> Iterator[SmallNode]:
    make_releases(tmp_path)
    with small_cloud(1) as cloud, short_folder() as folder, _little_room(folder), _agent(cloud, folder):
        made = SmallNode(cloud, folder, tmp_path)
        cloud.slapos("supply", made.release("good"), "small", "--wait")
        cloud.slapos("request", "bystander", made.release("good"), "--computer", "small")
        yield made


def test_what_does_not_fit_says_so_and_hurts_nobody(node: SmallNode) -> None:
    before = node.bystander()
    assert before[0] is Status.STARTED
    with _files_limited(node.folder, ROOM // 2):
        said = node.type("supply", node.release("large"), "small", "--wait")
        assert _speaks_of_room(said)
        assert "[big]" in said
        node.cloud.slapos("supply", node.release("large-instance"), "small", "--wait")
        said = node.type("request", "large", node.release("large-instance"), "--computer", "small")
        assert _speaks_of_room(said)
        assert "[big]" in said
    assert node.bystander() == before


def test_a_node_that_cannot_write_a_byte_says_so_and_goes_on_as_soon_as_it_can(node: SmallNode) -> None:
    before = node.bystander()
    with _full(node.folder):
        said = node.type("request", "late", node.release("good"), "--computer", "small")
        assert "room on its disk" in said
        assert str(node.folder) in said
        assert node.bystander() == before
    eventually(lambda: node.status("late") is Status.STARTED)
    assert node.bystander() == before


def _speaks_of_room(said: str) -> bool:
    return "No space left on device" in said or "File too large" in said


@contextmanager
def _agent(cloud: Cloud, folder: Path) -> Iterator[None]:
    """A node in a folder, with its agent running."""
    cfg = folder / "etc/slapos.cfg"
    cloud.slapos("node", "register", "small", "--root", str(folder), "--partition-number", "4")
    cloud.slapos("node", "format", "--cfg", str(cfg))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), NODE_MARK: str(folder)}
    log = (cloud.folder / "small-agent.log").open("wb")
    agent = subprocess.Popen([SLAPOS, "node", "agent", "--cfg", cfg], env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        agent.kill()
        agent.wait()
        log.close()
        Cloud(folder).down()


@contextmanager
def _little_room(folder: Path) -> Iterator[None]:
    """A small disk; making one is for root."""
    if os.geteuid():
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def _files_limited(folder: Path, size: int) -> Iterator[None]:
    """Without a small disk, the system refuses to the node what goes beyond a size."""
    processes = Processes(folder)
    limited = [processes.agent(), processes.builder()] if os.geteuid() else []
    most = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE)[1] for pid in limited}
    for pid, hard in most.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    yield
    for pid, hard in most.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Not a byte can be written."""
    if os.geteuid():
        with _files_limited(folder, 0):
            yield
        return
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"x" * 4096)
    yield
    filler.unlink()
