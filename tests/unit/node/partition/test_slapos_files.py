"""What SlapOS's software and operators look for in a partition."""

import json
import os
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from xmlrpc.client import Fault
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

import pytest

from slap.model.computer import Partition
from slap.model.errors import Conflict
from slap.node.buildout.job import Outcome
from slap.node.partition.slapos_files import is_stale, resource, write_resource
from slap.node.partition.slapos_links import link_layout, links
from slap.system import files
from tests.unit.node.managed import Room
from tests.unit.node.partition.world import World
from tests.unit.node.things import PART, a_config


def test_a_partition_says_what_it_has_in_slapos_words() -> None:
    partition = Partition(name="slappart0", ipv4=("10.0.0.2",), ipv6=("2001:db8::2",), tap="slaptap0")
    known = resource(partition, Path("/srv/slapgrid/slappart0"), "slapuser0")
    assert known["address_list"] == [
        {"addr": "10.0.0.2", "netmask": "255.255.255.255"},
        {"addr": "2001:db8::2", "netmask": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    ]
    assert (known["tap"]["name"], known["user"], known["reference"]) == ("slaptap0", {"name": "slapuser0"}, "slappart0")
    assert (known["path"], known["tun"], known["ipv6_range"]) == ("/srv/slapgrid/slappart0", None, {})


def test_an_instantiation_leaves_resources_and_a_time_stamp(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.wants()
    world.agent().work()
    folder = world.config.partition(PART)
    assert json.loads((folder / ".slapos-resource").read_text())["address_list"][0]["addr"] == "127.77.0.2"
    assert (folder / ".timestamp").read_text() == "1"
    assert not (folder / f".slapgrid-{PART}-error.log").exists()


def test_a_pipe_in_the_place_of_resources_holds_up_nobody(tmp_path: Path) -> None:
    room = Room(tmp_path)
    path = room.folder.path / ".slapos-resource"
    os.mkfifo(path)
    writing = Thread(target=write_resource, args=(room.folder,), daemon=True)
    writing.start()
    writing.join(10)
    assert path.is_file()


def test_why_it_failed_lies_there_until_it_succeeds(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.wants()
    world.builder.outcome = Outcome.FAILED
    agent = world.agent()
    agent.work()
    errors = world.config.partition(PART) / f".slapgrid-{PART}-error.log"
    assert errors.read_text() == "words"
    world.builder.outcome = Outcome.DONE
    world.wants(parameters={"a": 1})
    agent.work()
    assert not errors.exists()


@pytest.mark.parametrize(
    ("age", "periodicity", "stale"),
    [(None, None, True), (10, None, False), (10, 20, False), (30, 20, True)],
)
def test_a_partition_is_stale_without_a_time_stamp_or_with_an_old_one(
    tmp_path: Path, age: float | None, periodicity: float | None, stale: bool
) -> None:
    if age is not None:
        (tmp_path / ".timestamp").touch()
        os.utime(tmp_path / ".timestamp", (1000 - age, 1000 - age))
    assert is_stale(tmp_path, 1000, periodicity) == stale


def test_links_stand_where_slapos_has_files_and_can_be_made_again(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    for _ in range(2):
        link_layout(config)
    assert {link.readlink() for link in links(config)} == set(links(config).values())


def test_what_slapos_left_there_stays(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    old = config.instance_root / "etc/supervisord.conf"
    files.make_folder(old.parent)
    old.write_text("of SlapOS")
    link_layout(config)
    assert old.read_text() == "of SlapOS"


class Supervisord(SimpleXMLRPCDispatcher, socketserver.UnixStreamServer):
    """Answers as supervisord does: with its process id, or that it is about to end."""

    allow_none = True

    def __init__(self, address: Path) -> None:
        SimpleXMLRPCDispatcher.__init__(self)
        self.is_ending = False
        self.asked = threading.Event()
        self.register_function(self.pid, "supervisor.getPID")
        socketserver.UnixStreamServer.__init__(self, str(address), _Handler)

    def pid(self) -> int:
        self.asked.set()
        if self.is_ending:
            raise Fault(6, "SHUTDOWN_STATE")
        return 1


class _Handler(SimpleXMLRPCRequestHandler):
    disable_nagle_algorithm = False

    def address_string(self) -> str:
        return ""

    def log_request(self, *words: object) -> None:
        return None


@contextmanager
def supervisord(address: Path) -> Iterator[Supervisord]:
    with Supervisord(address) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_beside_slapos_own_supervisord_none_is_started(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    address = config.instance_root / "sv.sock"
    with supervisord(address):
        with pytest.raises(Conflict, match="supervisord of a SlapOS node runs") as refused:
            link_layout(config)
    assert str(address) in refused.value.resolution
    link_layout(config)  # it is gone, but its socket is still there
    assert address.is_symlink()


def test_one_that_was_told_to_end_is_waited_for(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    address = config.instance_root / "sv.sock"
    with ThreadPoolExecutor(1) as other:
        with supervisord(address) as theirs:
            theirs.is_ending = True
            linked = other.submit(link_layout, config)
            assert theirs.asked.wait(10)
            assert not linked.done()
        linked.result(10)
    assert address.is_symlink()
