"""Calls: a host has several addresses, and some of them say nothing, or no."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from slap.system.network.connect import Address, dial, dial_any
from tests.unit.system.unanswered import dropping, mute

NOBODY: Address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 9))
UNSPOKEN: Address = (socket.AF_AX25, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 9))


def at(port: int) -> Address:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))


@pytest.fixture
def gone() -> Iterator[Address]:
    """Packets to it are dropped."""
    with dropping() as port:
        yield at(port)


@pytest.fixture
def there() -> Iterator[Address]:
    with mute() as port:
        yield at(port)


def test_a_host_is_called_by_its_name(there: Address) -> None:
    with dial("localhost", there[4][1], 5) as connected:
        assert connected.getpeername() == there[4] and connected.gettimeout() == 5


@pytest.mark.parametrize("others", [[NOBODY], [UNSPOKEN], [NOBODY, UNSPOKEN, NOBODY]])
def test_an_address_that_refuses_costs_nothing(there: Address, others: list[Address]) -> None:
    """Else the time would be over: a moment for each of two hundred is longer than 30 seconds."""
    with dial_any([*others * 200, there, NOBODY], 30) as connected:
        assert connected.getpeername() == there[4]


def test_an_address_from_which_nothing_comes_costs_a_moment(gone: Address, there: Address) -> None:
    """Not all of the time, which would be over then."""
    began = time.monotonic()
    with dial_any([gone, gone, there], 30) as connected:
        assert connected.getpeername() == there[4]
    assert time.monotonic() - began > 0.4


def test_the_first_one_that_answers_is_taken_and_no_other(there: Address) -> None:
    with ExitStack() as stack:
        other = at(stack.enter_context(mute()))
        assert stack.enter_context(dial_any([there, other], 5)).getpeername() == there[4]


def test_nothing_from_any_address_is_not_waited_for_longer(gone: Address) -> None:
    """Each has not all of the time for itself: for two hundred that were minutes."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        dial_any([gone, NOBODY] * 200, 0.8)
    assert 0.7 < time.monotonic() - began < 60


def test_all_that_failed_is_told_by_the_last_one() -> None:
    with pytest.raises(ConnectionRefusedError) as caught:
        dial_any([UNSPOKEN, NOBODY], 5)
    assert caught.value.errno == errno.ECONNREFUSED
    with pytest.raises(OSError, match="no address"):
        dial_any([], 5)


def test_calls_leave_no_socket(gone: Address, there: Address) -> None:
    before = _open_files()
    for _ in range(3):
        dial_any([gone, NOBODY, there], 5).close()
        with pytest.raises(TimeoutError):
            dial_any([gone, NOBODY], 0.1)
    assert _open_files() == before


def _open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))
