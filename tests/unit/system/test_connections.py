"""Which connections are closed when there are too many, and how bodies get room."""

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from slap.model.errors import Busy
from slap.system.serving.accept import Acceptor
from slap.system.serving.body import BodyRoom
from slap.system.serving.connections import Connection, ConnectionTable, network_of
from slap.system.serving.limits import BodyLimits, ConnectionLimits
from slap.system.serving.refusals import Refusal, Refusals

HOME, AWAY, THIRD = "127.0.0.1", "192.0.2.1", "192.0.2.2"


class Closed:
    """Connections of a table, by name, and the names of those that it closed."""

    def __init__(self, capacity: int = 100, is_loopback_limited: bool = True, **limits: Any) -> None:
        self.table = ConnectionTable(ConnectionLimits(**limits), capacity, is_loopback_limited)
        self.names: list[str] = []

    def open(self, name: str, address: str = AWAY, owner: str = "", caller: str = "") -> Connection:
        connection = self.table.admit(address, lambda: self.names.append(name))
        assert connection is not None
        if owner:
            self.table.mark_known(connection, caller or owner, owner)
        return connection


def in_loop(test: Callable[[], None]) -> None:
    async def run() -> None:
        test()

    asyncio.run(run())


def test_the_oldest_connection_of_an_address_gives_way() -> None:
    def test() -> None:
        closed = Closed(connections_per_address=2)
        for name in ("first", "second", "third"):
            closed.open(name)
        closed.open("elsewhere", THIRD)
        assert closed.names == ["first"]

    in_loop(test)


def test_a_connection_whose_request_is_complete_stays() -> None:
    def test() -> None:
        closed = Closed(connections_per_address=2)
        busy = [closed.open("first"), closed.open("second")]
        closed.table.set_waiting(busy[0], False)
        closed.open("third")
        assert closed.names == ["second"]
        closed.table.set_waiting(closed.open("fourth"), False)
        assert closed.table.admit(AWAY, lambda: None) is None
        assert closed.table.refusals.totals[Refusal.TOO_MANY_OF_ADDRESS] == 3

    in_loop(test)


def test_unknown_callers_leave_a_quarter_to_known_ones() -> None:
    def test() -> None:
        closed = Closed(capacity=8)
        for number in range(8):
            closed.open(f"unknown {number}", f"192.0.2.{number}")
        assert closed.names == ["unknown 0", "unknown 1"]
        for number in range(2):
            closed.open(f"known {number}", AWAY, owner=f"owner {number}")
        assert closed.names[2:] == ["unknown 2"]
        assert (closed.table.known, closed.table.unknown) == (2, 5)

    in_loop(test)


def test_the_largest_owner_loses_what_it_used_least_lately() -> None:
    def test() -> None:
        closed = Closed(capacity=4)
        closed.open("of a small one", owner="small")
        used = closed.open("used", owner="large", caller="node 1")
        for number in (2, 3):
            closed.open(f"node {number}", owner="large", caller=f"node {number}")
        closed.table.set_waiting(used, False)
        closed.open("new")
        assert closed.names == ["node 2"]

    in_loop(test)


def test_a_proxy_on_this_machine_may_speak_for_all() -> None:
    def test() -> None:
        closed = Closed(is_loopback_limited=False, connections_per_address=1)
        for number in range(10):
            closed.open(str(number), HOME)
        assert closed.names == []

    in_loop(test)


def test_a_caller_has_so_many_connections_and_unread_answers() -> None:
    def test() -> None:
        closed = Closed(connections_per_caller=2, unsent_per_caller=1 << 20)
        one, _ = closed.open("one", owner="alice"), closed.open("two", owner="alice")
        with pytest.raises(Busy):
            closed.open("three", owner="alice")
        closed.table.set_unsent(one, 2 << 20)
        with pytest.raises(Busy):
            closed.table.mark_known(one, "alice", "alice")
        closed.open("other", owner="bob")
        closed.table.remove(one)
        closed.open("four", owner="alice")
        assert closed.table.refusals.counts() == {"too-many-of-one-caller": 1, "unsent-answers": 1}

    in_loop(test)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::"),
        ("2001:db8::ffff:0:0:1", "2001:db8::"),
        ("2001:db8:0:1::1", "2001:db8:0:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
    ],
)
def test_a_network_of_ipv6_is_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_refusals_are_logged_at_once_and_then_once_an_interval(caplog: pytest.LogCaptureFixture) -> None:
    refusals, timers = Refusals(), []
    for address in (AWAY, THIRD, THIRD):
        refusals.add(Refusal.SLOW_BODY, address, lambda seconds, then: timers.append(then))
    assert [record.message for record in caplog.records] == ["Refused: slow-body=1. Most from 192.0.2.1: 1."]
    timers.pop()()
    assert caplog.records[-1].message == "Refused: slow-body=2. Most from 192.0.2.2: 2."
    timers.pop()()
    assert (len(caplog.records), timers, refusals.counts()) == (2, [], {"slow-body": 3})


@contextmanager
def listener_without_descriptors() -> Iterator[socket.socket]:
    class Full(socket.socket):
        def accept(self) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

    with Full() as listener:
        listener.bind((HOME, 0))
        listener.listen()
        yield listener


def test_without_a_descriptor_one_connection_gives_way() -> None:
    async def run() -> None:
        closed = Closed()
        closed.open("idle")
        with listener_without_descriptors() as listener:
            acceptor = Acceptor(closed.table, listener, lambda: pytest.fail("nothing is accepted"), None)
            acceptor.start()
            with socket.create_connection(listener.getsockname()):
                while Refusal.NO_DESCRIPTORS not in closed.table.refusals.totals:
                    await asyncio.sleep(0)
            acceptor.close()
        assert closed.names == ["idle"]

    asyncio.run(run())


def test_room_for_bodies_is_given_and_taken_back() -> None:
    limits = BodyLimits(unknown_bodies=2000, bodies_per_owner=100_000, bodies=150_000, body_wait_seconds=0)

    async def run() -> None:
        room = BodyRoom(limits)
        await room.take("alice", 90_000)
        for owner, size in (("alice", 20_000), ("bob", 90_000), ("", 3000)):
            with pytest.raises(Busy):
                await room.take(owner, size)
        await room.take("bob", 60_000)  # small enough for what is kept for everybody
        await room.take("carol", 64_000)
        room.give("alice", 90_000)
        await room.take("alice", 20_000)

    asyncio.run(run())


def test_a_body_waits_for_room() -> None:
    async def run() -> None:
        room = BodyRoom(BodyLimits(bodies_per_owner=100_000, body_wait_seconds=60))
        await room.take("alice", 90_000)
        waiting = asyncio.create_task(room.take("alice", 90_000))
        await asyncio.sleep(0)
        assert not waiting.done()
        room.give("alice", 90_000)
        await waiting

    asyncio.run(run())


def test_a_body_that_is_larger_than_all_room_comes_alone() -> None:
    async def run() -> None:
        room = BodyRoom(BodyLimits(bodies_per_owner=100_000, bodies=100_000, body_wait_seconds=0))
        await room.take("alice", 200_000)
        with pytest.raises(Busy):
            await room.take("alice", 1)

    asyncio.run(run())
