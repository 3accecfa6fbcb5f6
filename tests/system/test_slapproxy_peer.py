"""Our command line orders at the real slapproxy of slapos.core, and our node makes it run."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slap.node.core.config import read
from slap.node.partition.supervision import connect
from slap.system.supervisor import News
from tests.system import typed
from tests.system.cloud import HELLOWORLD, Result, eventually, release
from tests.system.slapos_peer import Peer, peer

COMPUTER = "COMP-PEER"

# Serves shared instances: each gets a name of its own, made of what it asks for.
HOST = """\
[buildout]
parts = service publish shared
[conf]
recipe = slap:slapconfiguration
[service]
recipe = slap:service
command-line = /bin/sleep 100000
[publish]
recipe = slap:publish
answer = 42
list = ${conf:shared-list}
[shared]
recipe = slap:publish-shared
url = http://host/{reference}
"""


@dataclass(frozen=True)
class Mixed:
    """Their slapproxy, our command line, our node."""

    peer: Peer

    def ours(self, *words: str, check: bool = True, timeout: float = 120) -> Result:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.peer.folder),
            "SLAPOS_CLIENT_CONFIGURATION": str(self.peer.folder / "client.cfg"),
            "SLAPOS_CONFIGURATION": str(self.peer.cfg),
        }
        done = typed.run(words, environment, Path("/"), timeout)
        result = Result(done.returncode, done.stdout, done.stderr)
        assert not check or result.status == 0, f"slapos {' '.join(words)}: {result}"
        return result

    def json(self, *words: str) -> Any:
        return json.loads(self.ours(*words, "-f", "json").stdout)

    def supply(self, url: Path) -> None:
        self.ours("supply", str(url), COMPUTER)
        marker = read(self.peer.cfg).software(str(url)) / ".completed"
        eventually(marker.exists, 120)

    def status(self, name: str) -> str:
        return str(next(each["status"] for each in self.json("service", "list") if each["name"] == name))

    def partition(self, name: str) -> str:
        return str(next(each["partition"] for each in self.json("service", "list") if each["name"] == name))

    def runs(self, partition: str) -> list[str]:
        alive = connect(read(self.peer.cfg), News()).processes(partition)
        return [each.name for each in alive if each.state.is_alive]


@contextmanager
def _agent(mixed: Mixed) -> Iterator[None]:
    """Our agent, and its supervisord, until the block ends."""
    mixed.ours("node", "format")
    with (mixed.peer.folder / "agent.log").open("wb") as log:
        agent = subprocess.Popen(
            [typed.SLAPOS, "node", "agent", "--cfg", mixed.peer.cfg],
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    try:
        yield
    finally:
        agent.terminate()
        agent.wait(20)
        supervisor = connect(read(mixed.peer.cfg), News())
        for partition in supervisor.groups():
            supervisor.remove(partition)
        os.kill(supervisor.pid(), 15)


@pytest.fixture(scope="module")
def mixed() -> Iterator[Mixed]:
    with peer(computer=COMPUTER) as there, there.slapproxy():
        made = Mixed(there)
        with _agent(made):
            yield made


def test_a_service_is_ordered_changed_stopped_started_and_destroyed(mixed: Mixed) -> None:
    mixed.supply(HELLOWORLD)
    ordered = mixed.json("request", "web", str(HELLOWORLD), "--parameters", "greeting=Salut")
    eventually(lambda: "Salut" in _page(ordered["url"]))
    partition = mixed.partition("web")
    changed = mixed.ours("request", "web", str(HELLOWORLD), "--parameters", "greeting=Servus")
    assert "greeting" in changed.stderr
    eventually(lambda: "Servus" in _page(ordered["url"]))
    mixed.ours("service", "stop", "web")
    eventually(lambda: not mixed.runs(partition))
    mixed.ours("service", "start", "web")
    eventually(lambda: "Servus" in _page(ordered["url"]))
    mixed.ours("service", "destroy", "web")
    assert "web" not in [each["name"] for each in mixed.json("service", "list")]
    eventually(lambda: not list((mixed.peer.folder / "instance" / partition).iterdir()))
    assert not mixed.runs(partition)


def test_both_sides_tell_the_same_connection_and_ours_no_more_than_was_seen(mixed: Mixed) -> None:
    mixed.supply(HELLOWORLD)
    said = mixed.ours("request", "told", str(HELLOWORLD))
    assert "published its connection parameters" in said.stderr
    assert "does not tell whether it is started" in said.stderr
    assert mixed.status("told") == "unknown"
    theirs = mixed.peer.slapos("service", "info", "told").stdout
    ours = mixed.json("service", "info", "told")
    assert ours["connection"]["url"] in theirs
    stopped = mixed.ours("service", "stop", "told")
    assert "does not tell whether it is stopped" in stopped.stderr
    mixed.ours("service", "destroy", "told")


def test_parameters_that_are_no_strings_arrive_as_what_they_are(mixed: Mixed, tmp_path: Path) -> None:
    """The protocol has only strings: others go as JSON in one of them."""
    profile = (
        "[buildout]\nparts = publish\n[conf]\nrecipe = slap:slapconfiguration\n"
        "[publish]\nrecipe = slap:publish\nsaid = ${conf:json}\n"
    )
    url = release(_open(tmp_path) / "typed", profile)
    mixed.supply(url)
    parameters = {"number": 3, "list": ["a", {"b": None}], "text": "<&>'\"é"}
    ordered = mixed.json("request", "typed", str(url), "--parameters", json.dumps(parameters))
    assert json.loads(ordered["said"]) == parameters
    assert mixed.json("service", "info", "typed")["parameters"] == parameters
    mixed.ours("service", "destroy", "typed")


def test_a_tree_comes_up_by_itself_and_goes_as_a_whole(mixed: Mixed) -> None:
    """Each level asks for a child of the same name, which this protocol would take for one and the same."""
    mixed.supply(HELLOWORLD)
    words = ("request", "tree", str(HELLOWORLD), "--type", "tree", "--parameters", '{"depth": 3}')
    assert len(mixed.json(*words)["chain"].split()) == 3
    names = [each["reference"] for each in mixed.json("service", "info", "tree")["tree"]]
    assert names == ["tree", "child", "child.child"]
    mixed.ours("service", "destroy", "tree")
    free = eventually(lambda: mixed.json("computer", "list")[0]["free"] in (5, "5"))
    assert free


def test_a_shared_instance_is_served_and_ended(mixed: Mixed, tmp_path: Path) -> None:
    url = release(_open(tmp_path) / "host", HOST)
    mixed.supply(url)
    mixed.ours("request", "host", str(url))
    guid = mixed.json("service", "info", "host")["guid"]
    words = ("request", "guest", str(url), "--slave", "--node", f"instance_guid={guid}", "--parameters", "a=b")
    assert mixed.json(*words)["url"] == "http://host/_guest"
    assert {each["name"] for each in mixed.json("service", "list")} == {"host", "guest"}
    assert "_guest" in mixed.json("service", "info", "host")["connection"]["list"]
    mixed.ours("service", "destroy", "guest")
    eventually(lambda: "_guest" not in mixed.json("service", "info", "host")["connection"]["list"])
    mixed.ours("service", "destroy", "host")
    assert mixed.json("service", "list") == []


def test_what_cannot_be_is_refused_and_says_why(mixed: Mixed, tmp_path: Path) -> None:
    nowhere = mixed.ours("request", "lost", str(HELLOWORLD), "--computer", "COMP-7", check=False)
    assert (nowhere.status, "No free computer partition" in nowhere.stderr) == (4, True)
    url = release(_open(tmp_path) / "unsupplied", HOST)
    unsupplied = mixed.ours("request", "hopeless", str(url), check=False)
    assert (unsupplied.status, f"slapos supply {url} {COMPUTER}" in unsupplied.stderr) == (1, True)
    mixed.ours("service", "destroy", "hopeless")
    assert mixed.ours("service", "plan", "x", str(HELLOWORLD), check=False).status == 1
    assert mixed.ours("service", "logs", "x", check=False).status == 1


def test_a_failing_build_is_in_the_nodes_words_and_does_not_stop_others(mixed: Mixed, tmp_path: Path) -> None:
    broken = _open(tmp_path) / "broken/software.cfg"
    broken.parent.mkdir()
    broken.write_text("[buildout]\nparts = missing\n")
    mixed.ours("supply", str(broken), COMPUTER)
    log = mixed.peer.folder / "instance/var/slap/log/slapos-node-software.log"
    eventually(lambda: f"Building {broken} failed" in log.read_text())
    mixed.supply(HELLOWORLD)
    removed = mixed.ours("remove", str(broken), COMPUTER, "--wait")
    assert "is destroyed after" in removed.stderr


def test_single_passes_do_what_the_agent_does() -> None:
    with peer(computer=COMPUTER, partitions=2) as there, there.slapproxy():
        mixed = Mixed(there)
        mixed.ours("node", "format")
        mixed.ours("supply", str(HELLOWORLD), COMPUTER)
        mixed.ours("node", "software")
        assert mixed.ours("request", "web", str(HELLOWORLD), "--no-wait", check=False).status == 3
        try:
            mixed.ours("node", "instance")
            assert mixed.runs("slappart0")
            mixed.ours("node", "report")
            mixed.ours("request", "web", str(HELLOWORLD))
            mixed.ours("service", "destroy", "web", "--no-wait", check=False)
            mixed.ours("node", "instance")
            assert (mixed.runs("slappart0"), mixed.json("service", "list")) == ([], [])
        finally:
            os.kill(connect(read(there.cfg), News()).pid(), 15)


def _page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def _open(folder: Path) -> Path:
    """A folder that the slapproxy, which is nobody, may look into."""
    for each in (folder, *folder.parents[:2]):
        each.chmod(0o755)
    return folder
