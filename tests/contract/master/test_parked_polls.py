"""Long polls wait parked: without a task, answered at news or at their deadline, and gone with their client."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import cast

import pytest
import uvicorn
from fastapi import FastAPI

from slap.client.native import NativeMaster
from slap.master.api.peer import PeerProtocol
from slap.master.app import create_app
from slap.master.database.hub import Hub, answer_topic, computer_topic, tree_topic
from slap.model.node import InstanceReport
from slap.model.state import ReportedInstanceState
from tests.contract.master.world import RELEASES, Node, World, order, until

pytestmark = pytest.mark.sql

MANY = 500


@dataclass(frozen=True)
class Served:
    """A master in this process, and what it has of requests: how many are run, and who waits for news."""

    server: uvicorn.Server
    app: FastAPI
    address: tuple[str, int]

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.services.store.hub
        return hub

    @property
    def tasks(self) -> int:
        return len(self.server.server_state.tasks)

    def run(self, call: Callable[[], None]) -> None:
        """Have the event loop of the server call this."""
        self.app.state.services.store._loop.call_soon_threadsafe(call)

    def waiting(self, topic: str) -> int:
        return len(self.hub._subscriptions.get(topic, ()))


@contextmanager
def served(database: str) -> Iterator[Served]:
    app = create_app(database, releases=RELEASES)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        server = uvicorn.Server(uvicorn.Config(app, http=PeerProtocol, log_level="error", timeout_graceful_shutdown=1))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started)
            yield Served(server, app, listener.getsockname())
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def master(fresh_database: str) -> Iterator[Served]:
    with served(fresh_database) as running:
        yield running


@pytest.fixture
def world(master: Served, fresh_database: str, tmp_path: Path) -> World:
    return World(f"http://127.0.0.1:{master.address[1]}", fresh_database, tmp_path)


class Wire:
    """One connection by which requests are sent as they are written."""

    def __init__(self, master: Served, token: str) -> None:
        self._socket = socket.create_connection(master.address, timeout=20)
        self._file = self._socket.makefile("rb")
        self._token = token

    def send(self, path: str, headers: str = "") -> "Wire":
        head = f"GET /api/v1{path} HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {self._token}\r\n{headers}\r\n"
        self._socket.sendall(head.encode())
        return self

    def poll(self, node: Node, since: int, wait: float = 60) -> "Wire":
        return self.send(f"/computers/{node.guid}/state?since={since}&wait={wait}")

    def status_and_body(self) -> tuple[int, dict[str, object]]:
        status = int(self._file.readline().split()[1])
        length = 0
        while (line := self._file.readline().strip().lower()) != b"":
            length = int(line.split(b":")[1]) if line.startswith(b"content-length:") else length
        return status, json.loads(self._file.read(length))

    def revision(self) -> int:
        status, body = self.status_and_body()
        assert status == 200
        return int(str(body["revision"]))

    def has_answer(self) -> bool:
        self._socket.settimeout(0)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            self._socket.settimeout(20)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def _token(node: Node) -> str:
    return str(cast(NativeMaster, node.api)._headers["Authorization"]).removeprefix("Bearer ")


def _parked(master: Served, node: Node, since: int, wait: float = 60) -> Wire:
    before = master.waiting(computer_topic(node.guid))
    wire = Wire(master, _token(node)).poll(node, since, wait)
    until(lambda: master.waiting(computer_topic(node.guid)) > before and not master.tasks)
    return wire


def test_a_poll_waits_without_a_task_and_is_answered_by_a_change_of_its_computer_alone(
    master: Served, world: World
) -> None:
    node, other = world.computer("one"), world.computer("two")
    known = node.api.desired_state(node.guid).revision
    wire = _parked(master, node, known)
    other.api.bang_computer(other.guid, "")
    assert (master.waiting(computer_topic(node.guid)), wire.has_answer()) == (1, False)
    node.api.bang_computer(node.guid, "")
    assert wire.revision() == known + 1
    until(lambda: not master.tasks)
    assert master.waiting(computer_topic(node.guid)) == 0


def test_a_poll_is_answered_at_its_deadline_and_its_connection_goes_on(master: Served, world: World) -> None:
    node = world.computer()
    known = node.api.desired_state(node.guid).revision
    wire = _parked(master, node, known, wait=0.3)
    assert (wire.revision(), master.waiting(computer_topic(node.guid))) == (known, 0)
    wire.poll(node, known)
    until(lambda: master.waiting(computer_topic(node.guid)) == 1)
    node.api.bang_computer(node.guid, "")
    assert wire.revision() == known + 1


def test_a_request_behind_a_parked_one_is_answered_after_it(master: Served, world: World) -> None:
    node = world.computer()
    known = node.api.desired_state(node.guid).revision
    wire = _parked(master, node, known).poll(node, 0, wait=0).poll(node, known + 1, wait=0.1)
    assert not wire.has_answer()
    node.api.bang_computer(node.guid, "")
    assert [wire.revision() for _ in range(3)] == [known + 1] * 3


def test_a_parked_request_keeps_what_came_and_no_more(master: Served, world: World) -> None:
    node = world.computer()
    root = world.admin.request(order(world.supplied(node)))
    tree = Wire(master, world.token.removeprefix("Bearer "))
    tree.send(f"/instances/{root.guid}/tree?since={world.admin.tree(root.guid).revision}&wait=60")
    until(lambda: master.waiting(tree_topic(root.guid)) == 1 and not master.tasks)
    (parked,) = [each for each in master.server.server_state.connections if cast(PeerProtocol, each)._waiter]
    scope = cast(PeerProtocol, parked)._running.scope
    assert not {"app", "route", "endpoint", "path_params"} & scope.keys()
    tree.close()


def test_a_client_that_goes_leaves_nothing(master: Served, world: World) -> None:
    node = world.computer()
    wires = [_parked(master, node, node.api.desired_state(node.guid).revision) for _ in range(3)]
    for wire in wires:
        wire.close()
    until(lambda: not master.waiting(computer_topic(node.guid)))
    node.api.bang_computer(node.guid, "")
    assert node.api.desired_state(node.guid).computer == node.guid


def test_many_polls_of_one_computer_are_all_answered(master: Served, world: World) -> None:
    node = world.computer()
    known = node.api.desired_state(node.guid).revision
    wires = [Wire(master, _token(node)).poll(node, known) for _ in range(MANY)]
    until(lambda: master.waiting(computer_topic(node.guid)) == MANY and not master.tasks)
    node.api.bang_computer(node.guid, "")
    assert {wire.revision() for wire in wires} == {known + 1}
    for wire in wires:
        wire.close()


def test_polls_end_when_their_caller_is_revoked(master: Served, world: World) -> None:
    node = world.computer()
    wire = _parked(master, node, node.api.desired_state(node.guid).revision)
    world.admin.new_computer_token(node.guid)
    assert (wire.status_and_body()[0], master.waiting(computer_topic(node.guid))) == (401, 0)


def test_who_waits_for_a_tree_or_an_answer_is_parked_too(master: Served, world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    root = world.admin.request(order(url))
    child = world.partition(node, root).request(order(url, "child"))
    tree = Wire(master, world.token.removeprefix("Bearer "))
    tree.send(f"/instances/{root.guid}/tree?since={world.admin.tree(root.guid).revision}&wait=60")
    answer = Wire(master, node.token_of(root)).send(f"/instances/{child.guid}/answer?wait=60")
    topics = (tree_topic(root.guid), answer_topic(child.guid))
    until(lambda: [master.waiting(topic) for topic in topics] == [1, 1] and not master.tasks)
    published = InstanceReport(guid=child.guid, state=ReportedInstanceState.STARTED, connection={"url": "http://x"})
    node.report(published)
    assert (tree.status_and_body()[0], answer.status_and_body()[1]["children"]) == (200, 1)
    assert [master.waiting(topic) for topic in topics] == [0, 0]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("since=-1&wait=60", 400),
        ("since=1&wait=61", 400),
        ("since=1&wait=-1", 400),
        ("since=1&wait=nan", 400),
        ("since=1&wait=inf", 400),
        ("since=1&wait=1e9", 400),
        ("since=x&wait=1", 400),
        ("since=1&wait=60&wait=61", 400),
        ("since=%31&wait=0", 200),
        ("wait=0", 200),
        ("", 200),
    ],
)
def test_what_a_poll_asks_is_checked(master: Served, world: World, query: str, status: int) -> None:
    node = world.computer()
    assert Wire(master, _token(node)).send(f"/computers/{node.guid}/state?{query}").status_and_body()[0] == status
    assert master.waiting(computer_topic(node.guid)) == 0


@pytest.mark.parametrize("token", ["", "computer:nobody", "partition:x:y"])
def test_nobody_unknown_waits(master: Served, world: World, token: str) -> None:
    node = world.computer()
    assert Wire(master, token).poll(node, 1).status_and_body()[0] == 401
    assert master.waiting(computer_topic(node.guid)) == 0


def test_another_computer_does_not_wait_here(master: Served, world: World) -> None:
    node, other = world.computer("one"), world.computer("two")
    assert Wire(master, _token(other)).poll(node, 1).status_and_body()[0] == 403
    assert master.waiting(computer_topic(node.guid)) == 0


def test_a_master_that_ends_answers_who_waits(fresh_database: str, tmp_path: Path) -> None:
    with served(fresh_database) as master:
        world = World(f"http://127.0.0.1:{master.address[1]}", fresh_database, tmp_path)
        node = world.computer()
        known = node.api.desired_state(node.guid).revision
        wire = _parked(master, node, known)
        master.run(master.hub.end)
        assert wire.revision() == known
        wire.close()


def test_a_change_at_one_process_wakes_a_poll_at_another(fresh_database: str, tmp_path: Path) -> None:
    if not fresh_database.startswith("postgresql"):
        return  # an SQLite database belongs to one process
    with served(fresh_database) as here, served(fresh_database) as there:
        world = World(f"http://127.0.0.1:{here.address[1]}", fresh_database, tmp_path)
        node = world.computer()
        known = node.api.desired_state(node.guid).revision
        wire = _parked(there, node, known)
        node.api.bang_computer(node.guid, "")
        assert wire.revision() == known + 1
        wire.close()
