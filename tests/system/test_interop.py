"""Their command line orders at our master: SlapOS's node makes it run, and ours makes the same of the same orders."""

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slap.client.master import Master
from slap.model.instance import Instance
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState, Status
from tests.system.cloud import Result, as_nobody, eventually
from tests.system.interop import COMPUTER, Ours, prepare_for_their_node, write_tree, write_web
from tests.system.slapos_peer import Peer, peer

PORT = 8080

# Asks with the library of slapos.core what their command line does not print. Arguments: the master, release, name.
ASK = """\
import sys
from slapos.slap import slap
connection = slap()
connection.initializeConnection(sys.argv[1])
print(connection.registerOpenOrder().request(sys.argv[2], sys.argv[3]).getStatus())
"""


@dataclass(frozen=True)
class World:
    """Their command line and our master; `build` and `work` have a node do what there is to do."""

    peer: Peer
    master: Master
    web: Path
    tree: Path
    build: Callable[[], object]
    work: Callable[[], object]

    def order(self, name: str, release: Path, *words: str, check: bool = True) -> Result:
        return self.peer.slapos("request", name, str(release), *words, check=check)

    def info(self, name: str) -> Any:
        return json.loads(self.peer.slapos("service", "info", name).stdout)

    def instance(self, name: str) -> Instance:
        return self.master.instances(name)[0]

    def reach(self, look: Callable[[], object]) -> None:
        """Passes of the node until `look` is true."""

        def worked() -> object:
            self.work()
            return look()

        eventually(worked, 90, pause=0.1)

    def started(self, name: str) -> Instance:
        self.reach(lambda: self.instance(name).status is Status.STARTED)
        return self.instance(name)

    def folder(self, instance: Instance) -> Path:
        return self.peer.folder / "instance" / instance.partition

    def destroy(self, name: str, release: Path, *words: str) -> None:
        self.order(name, release, *words, "--state", "destroyed")
        self.reach(lambda: not self.master.instances(name))


@contextmanager
def their_node() -> Iterator[World]:
    with peer(computer=COMPUTER) as there:
        prepare_for_their_node(there, 5)
        with Ours(there).master() as master:
            there.slapos("node", "format", "--now")

            def work() -> None:
                there.slapos("node", "instance", check=False)
                if any(each.requested is InstanceState.DESTROYED for each in _all(master)):
                    there.slapos("node", "report", check=False)

            try:
                yield _supplied(there, master, lambda: there.slapos("node", "software", check=False), work)
            finally:
                there.slapos("node", "supervisorctl", "shutdown", check=False)


def _all(master: Master) -> list[Instance]:
    return [each for root in master.instances() for each in master.tree(root.guid).instances]


@contextmanager
def our_node() -> Iterator[World]:
    with peer(computer=COMPUTER) as there:
        ours = Ours(there)
        with ours.master() as master, ours.agent():
            yield _supplied(there, master, lambda: None, lambda: None)


def _supplied(there: Peer, master: Master, build: Callable[[], object], work: Callable[[], object]) -> World:
    """With both releases built, which their command line asked for."""
    web = write_web(there.folder / "release/web", PORT)
    tree = write_tree(there.folder / "release/tree", web)
    for url in (web, tree):
        there.slapos("supply", str(url), COMPUTER)
    build()
    available = {ReportedSupplyState.AVAILABLE}
    eventually(lambda: {each.reported for each in master.supplies()} == available, 400, pause=0.5)
    return World(there, master, web, tree, build, work)


NODES = {"their node": their_node, "our node": our_node}


@pytest.fixture(scope="module", params=NODES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with NODES[request.param]() as made:
        yield made


def test_an_order_runs_and_is_told_of_as_it_is(world: World) -> None:
    ordered = world.order("web", world.web, "--parameters", "greeting=Salut")
    assert "State is : started" in ordered.stderr  # what their command calls so is what was requested
    before = world.instance("web")
    assert before.parameters == {"greeting": "Salut"}
    if before.reported is not ReportedInstanceState.STARTED:
        assert before.status is not Status.STARTED
    running = world.started("web")
    url = running.connection["url"]
    assert page(url) == "Salut"
    assert world.info("web")["connection-parameters"] == running.connection
    assert world.info("web")["status"] == "green"
    assert [each.name for each in running.promises if not each.passed] == []
    again = world.order("web", world.web, "--parameters", "greeting=Salut")
    assert url in again.stdout + again.stderr


def test_a_change_of_parameters_arrives(world: World, tmp_path: Path) -> None:
    """Numbers stay numbers, in the form that the release declares."""
    world.order("changed", world.web, "--parameters", "greeting=Salut")
    first = world.started("changed")
    parameters = world.peer.folder / "parameters.json"
    parameters.write_text(json.dumps({"greeting": "<Servus> é", "number": 3}))
    world.order("changed", world.web, "--parameters-file", str(parameters))
    world.reach(lambda: page(first.connection["url"]) == "<Servus> é")
    world.reach(lambda: world.instance("changed").connection["number"] == "3")
    second = world.started("changed")
    assert (second.guid, second.partition) == (first.guid, first.partition)
    assert second.parameters == {"greeting": "<Servus> é", "number": 3}
    assert world.info("changed")["connection-parameters"]["greeting"] == "<Servus> é"
    world.destroy("changed", world.web)


def test_stop_start_and_destroy(world: World) -> None:
    world.order("short", world.web, "--parameters", "greeting=Hi")
    running = world.started("short")
    url = running.connection["url"]
    world.order("short", world.web, "--parameters", "greeting=Hi", "--state", "stopped")
    world.reach(lambda: world.instance("short").reported is ReportedInstanceState.STOPPED)
    assert not page(url)
    world.order("short", world.web, "--parameters", "greeting=Hi", "--state", "started")
    world.started("short")
    eventually(lambda: page(url) == "Hi")
    world.destroy("short", world.web)
    assert not page(url)
    left = [each.name for each in world.folder(running).iterdir() if not each.name.startswith(".slap")]
    assert left == []
    assert "short" not in json.loads(world.peer.slapos("service", "list").stdout)
    assert "does not exist" in world.peer.slapos("service", "info", "short", check=False).stderr


def test_a_child_is_ordered_by_its_parent_and_goes_with_it(world: World) -> None:
    world.order("tree", world.tree, "--parameters", "greeting=Servus")
    root = world.started("tree")
    both = [("tree", ReportedInstanceState.STARTED), ("child", ReportedInstanceState.STARTED)]
    # What the child publishes has its parent processed once more.
    world.reach(lambda: [(each.reference, each.reported) for each in world.master.tree(root.guid).instances] == both)
    assert page(root.connection["child-url"]) == "Servus"
    instances = {each.reference: each for each in world.master.tree(root.guid).instances}
    # Asked flat, told flat; the release of the child declares the other form, and has it.
    assert world.info("tree")["connection-parameters"] == {
        "child-url": instances["child"].connection["url"],
        "greeting": "Servus",
    }
    world.destroy("tree", world.tree)
    world.reach(lambda: not page(root.connection["child-url"]))


def test_a_shared_instance_is_served_by_name_and_ended(world: World) -> None:
    world.order("host", world.web, "--parameters", "greeting=Host")
    host = world.started("host")
    words = ("--slave", "--parameters", "page=about")
    world.order("guest", world.web, *words, "--node", f"instance_guid={host.guid}")
    guest = world.started("guest")
    assert guest.connection == {"url": f"{host.connection['url']}about", "name": guest.guid}
    assert (guest.host, guest.partition) == (host.guid, host.partition)
    shown = world.info("guest")
    assert (shown["shared"], shown["connection-parameters"]) == (True, guest.connection)
    world.destroy("guest", world.web, *words, "--node", f"instance_guid={host.guid}")
    assert world.instance("host").serves == 0
    world.destroy("host", world.web)


def test_a_service_that_fails_is_told_of_with_its_reason(world: World) -> None:
    """The profile of this release reads a parameter that is missing here."""
    world.order("failing", world.web)
    world.reach(lambda: world.instance("failing").status is Status.ERROR)
    seen = world.instance("failing")
    assert "greeting" in seen.message
    # Our agent tries again by itself, and says for a moment that it does.
    eventually(lambda: world.info("failing")["status"] == "red")
    told = eventually(lambda: (said := ask(world, "failing", world.web)).startswith("#error") and said)
    assert "greeting" in told
    world.order("failing", world.web, "--parameters", "greeting=Mended")
    mended = world.started("failing")
    assert page(mended.connection["url"]) == "Mended"
    assert world.info("failing")["status"] == "green"
    world.destroy("failing", world.web)


def test_what_cannot_be_is_refused_with_the_reason(world: World) -> None:
    """slapproxy takes all of these, or says 404."""
    nowhere = world.order(
        "lost", world.web, "--parameters", "greeting=Hi", "--node", "computer_guid=COMP-7", check=False
    )
    assert (nowhere.status, "COMP-7" in nowhere.stderr) == (1, True)
    odd = world.order("odd", world.web, "--type", "even", check=False)
    assert (odd.status, "even" in odd.stderr) == (1, True)
    assert world.master.instances("lost") == world.master.instances("odd") == []
    assert world.peer.slapos("supply", str(world.web), "COMP-7", check=False).status == 1


def test_a_release_that_cannot_be_built_is_told_of_with_its_reason(world: World) -> None:
    broken = world.peer.folder / "release/broken/software.cfg"
    broken.parent.mkdir()
    broken.write_text("[buildout]\nparts = nonesuch\n")
    world.peer.slapos("supply", str(broken), COMPUTER)
    if world.work is not None:
        world.build()
    eventually(lambda: world.master.supplies(url=str(broken))[0].reported is ReportedSupplyState.ERROR, 60)
    assert "nonesuch" in world.master.supplies(url=str(broken))[0].message
    world.peer.slapos("remove", str(broken), COMPUTER)


def test_their_lists_show_what_ours_knows(world: World) -> None:
    assert json.loads(world.peer.slapos("service", "list").stdout) == {
        each.reference: each.software_release for each in world.master.instances()
    }
    assert COMPUTER in world.peer.slapos("computer", "list").stdout
    assert f"Computer Reference: {COMPUTER}" in world.peer.slapos("computer", "info", COMPUTER).stdout


def page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def ask(world: World, name: str, release: Path) -> str:
    """What the library of slapos.core tells the requester of an instance."""
    words = (str(world.peer.binaries / "python"), "-c", ASK, world.peer.master_url, str(release), name)
    done = subprocess.run(as_nobody(words), capture_output=True, text=True, timeout=60, cwd=world.peer.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout
