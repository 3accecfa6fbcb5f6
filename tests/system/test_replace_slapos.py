"""Somebody who runs SlapOS puts our master in the place of slapproxy, then our node in the place of theirs."""

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slap.client.master import Master
from slap.model.instance import Instance
from slap.model.state import ReportedInstanceState, Status
from tests.system.cloud import eventually
from tests.system.interop import COMPUTER, Ours, prepare_for_their_node, write_tree, write_web
from tests.system.slapos_peer import Peer, peer


@dataclass(frozen=True)
class Place:
    """SlapOS as somebody runs it: `web` serves the shared instance `guest`, `tree` has a child."""

    peer: Peer
    web: Path
    tree: Path

    def request(self, name: str, release: Path, *words: str) -> str:
        """What their command says of an order: a part of it goes to each output."""
        done = self.peer.slapos("request", name, str(release), *words)
        return done.stdout + done.stderr

    def work(self) -> None:
        self.peer.slapos("node", "instance", check=False)

    def connection(self, name: str) -> Any:
        return json.loads(self.peer.slapos("service", "info", name).stdout)["connection-parameters"]

    def services(self) -> Any:
        return json.loads(self.peer.slapos("service", "list").stdout)

    def pids(self) -> dict[str, int]:
        """The programs of the services, as supervisor itself says: PARTITION:PROGRAM and process."""
        lines = self.peer.slapos("node", "status").stdout.splitlines()
        rows = [line.split() for line in lines if " RUNNING " in line and ":" in line.split()[0]]
        return {row[0]: int(row[3].rstrip(",")) for row in rows}

    def partition(self, name: str) -> Path:
        return self.peer.folder / "instance" / name


@contextmanager
def running_slapos() -> Iterator[Place]:
    with peer(computer=COMPUTER) as there:
        prepare_for_their_node(there, 5)
        web = write_web(there.folder / "release/web", 8080)
        place = Place(there, web, write_tree(there.folder / "release/tree", web))
        try:
            with there.slapproxy():
                _fill(place)
            yield place
        finally:
            there.slapos("node", "supervisorctl", "shutdown", check=False)


def _fill(place: Place) -> None:
    place.peer.slapos("node", "format", "--now")
    for url in (place.web, place.tree):
        place.peer.slapos("supply", str(url), COMPUTER)
    place.peer.slapos("node", "software")
    place.request("web", place.web, "--parameters", "greeting=Salut")
    place.request("guest", place.web, "--slave", "--parameters", "page=about")
    place.request("tree", place.tree, "--parameters", "greeting=Servus")

    def complete() -> bool:
        place.work()
        return "child-url" in place.request("tree", place.tree, "--parameters", "greeting=Servus")

    eventually(complete, 120)
    eventually(lambda: len(place.pids()) == 2, 30)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with running_slapos() as made:
        yield made


def test_our_master_and_then_our_node_take_over_and_give_back(place: Place) -> None:
    """One test, since each step begins with what the one before has left."""
    before = Before(place.pids(), page(place, "slappart0"), page(place, "slappart2"))
    assert len(before.pids) == 2
    ours = Ours(place.peer)
    with ours.master() as master:
        _their_node_goes_on(place, master, before)
        _new_orders_work(place, master)
        _our_node_takes_over(place, ours, master)
        _their_node_comes_back(place)
    _slapproxy_comes_back(place)


@dataclass(frozen=True)
class Before:
    """What went on before anything was replaced."""

    pids: dict[str, int]
    web: str
    child: str


def _their_node_goes_on(place: Place, master: Master, before: Before) -> None:
    copies = list(place.peer.folder.glob("proxy.db.slapos-copy*"))
    assert len(copies) == 1
    assert place.services() == {name: str(place.tree if name == "tree" else place.web) for name in place.services()}
    assert set(place.services()) == {"web", "tree", "guest"}
    assert guids(master) == {
        "web": f"{COMPUTER}-slappart0",
        "tree": f"{COMPUTER}-slappart1",
        "child": f"{COMPUTER}-slappart2",
    }
    assert Status.STARTED not in {each.status for each in instances(master).values()}
    connection = {name: place.connection(name) for name in ("web", "tree", "guest")}
    assert connection["web"]["url"] in connection["guest"]["url"]
    assert connection["tree"]["greeting"] == "Servus"
    place.work()
    settled(place, master)
    assert place.pids() == before.pids
    assert {name: place.connection(name) for name in ("web", "tree", "guest")} == connection
    assert (page(place, "slappart0"), page(place, "slappart2")) == (before.web, before.child) == ("Salut", "Servus")


def _new_orders_work(place: Place, master: Master) -> None:
    place.request("new", place.web, "--parameters", "greeting=New")
    settled(place, master)
    assert instances(master)["new"].partition == "slappart3"
    assert page(place, "slappart3") == "New"
    place.request("new", place.web, "--parameters", "greeting=New", "--state", "destroyed")
    place.peer.slapos("node", "report")
    assert set(place.services()) == {"web", "tree", "guest"}
    assert page(place, "slappart3") == ""


def _our_node_takes_over(place: Place, ours: Ours, master: Master) -> None:
    connection = {name: each.connection for name, each in instances(master).items()}
    kept = place.partition("slappart0") / "srv/www/kept"
    kept.write_text("data of the service")
    os.chown(kept, place.peer.folder.stat().st_uid, -1)
    place.peer.slapos("node", "supervisorctl", "shutdown")
    eventually(lambda: page(place, "slappart0") == page(place, "slappart2") == "")
    addresses = {each.partition.name: each.partition.ipv4 for each in master.computer(COMPUTER).partitions}
    with only_remembered(place), ours.agent():
        assert {each.partition.name: each.partition.ipv4 for each in master.computer(COMPUTER).partitions} == addresses
        eventually(lambda: page(place, "slappart0") == "Salut", 400, pause=0.5)
        eventually(lambda: page(place, "slappart2") == "Servus", 60)
        eventually(lambda: {each.status for each in instances(master).values()} == {Status.STARTED}, 60)
        assert {name: each.connection for name, each in instances(master).items()} == connection
        assert kept.read_text() == "data of the service"
        place.request("web", place.web, "--parameters", "greeting=Ciao")
        eventually(lambda: page(place, "slappart0") == "Ciao", 60)
        place.request("tree", place.tree, "--state", "destroyed")
        eventually(lambda: set(place.services()) == {"web", "guest"}, 60)
        assert page(place, "slappart2") == ""


def _their_node_comes_back(place: Place) -> None:
    """It takes over what ours left of the partitions; releases it would take for its own."""
    for built in (place.peer.folder / "software").iterdir():
        shutil.rmtree(built)
    place.peer.slapos("node", "format", "--now")  # gives partitions the mode back without which it refuses them
    place.peer.slapos("node", "software", "--all")
    place.peer.slapos("node", "instance", "--all")
    eventually(lambda: page(place, "slappart0") == "Ciao")


def _slapproxy_comes_back(place: Place) -> None:
    """With the copy of its database: what was ordered since it was made is not in it."""
    for name in ("", "-wal", "-shm", ".lock", ".migration", ".token"):
        (place.peer.folder / f"proxy.db{name}").unlink(missing_ok=True)
    (place.peer.folder / "proxy.db.slapos-copy").rename(place.peer.folder / "proxy.db")
    assert list(place.peer.folder.glob("proxy.db*")) == [place.peer.folder / "proxy.db"]
    with place.peer.slapproxy():
        eventually(lambda: _page_after_work(place, "slappart0") == "Salut", 120)
        eventually(lambda: _page_after_work(place, "slappart2") == "Servus", 120)
        assert set(place.services()) == {"web", "tree", "guest"}
    assert (place.partition("slappart0") / "srv/www/kept").read_text() == "data of the service"


def _page_after_work(place: Place, partition: str) -> str:
    place.work()
    return page(place, partition)


@contextmanager
def only_remembered(place: Place) -> Iterator[None]:
    """Without addresses that are written down, as on most computers: only SlapOS's own memory of them is left."""
    text = place.peer.cfg.read_text()
    lines = text.splitlines(keepends=True)
    place.peer.cfg.write_text("".join(each for each in lines if not each.startswith("input_definition_file")))
    yield
    place.peer.cfg.write_text(text)


def settled(place: Place, master: Master) -> None:
    """Their node works until all is reported to be as it was requested."""

    def done() -> bool:
        place.work()
        reported = {each.reported for each in instances(master).values()}
        return reported == {ReportedInstanceState.STARTED}

    eventually(done, 120)


def instances(master: Master) -> dict[str, Instance]:
    trees = [master.tree(root.guid) for root in master.instances()]
    return {each.reference: each for tree in trees for each in tree.instances}


def guids(master: Master) -> dict[str, str]:
    return {name: each.guid for name, each in instances(master).items() if not each.shared}


def page(place: Place, partition: str) -> str:
    """What the web service in a partition serves, at the address that the partition was written down with."""
    definition = ConfigParser()
    definition.read(place.peer.folder / "partitions.cfg")
    address = definition[partition.replace("slappart", "partition_")]["address"].partition("/")[0]
    try:
        with urllib.request.urlopen(f"http://{address}:8080/", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
