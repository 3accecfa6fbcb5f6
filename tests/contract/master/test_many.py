"""What a master does costs the same however much it has, and its whole state as much as there is of it.

Ratios within one run, of the processor's time: master and client are this process. bench/master measures beside slapproxy.
"""

import time
from statistics import median

import pytest

from tests.contract.master.classic import Classic
from tests.contract.master.world import World, order

pytestmark = pytest.mark.sql

MANY = 1000
SIZE = 10_000_000 / 5000  # bytes of the whole state for each partition, as slapproxy of slapos.core 1.26.1 has them


def test_a_thousand_partitions_do_not_slow_it_down(world: World) -> None:
    node = world.computer(partitions=MANY)
    url = world.supplied(node)
    classic = Classic(world.address, world.token)
    first = [_seconds(world, url, number) for number in range(MANY // 4)]
    quarter = _whole_state(classic, node.guid)
    others = [_seconds(world, url, number) for number in range(MANY // 4, MANY)]
    assert median(others[-200:]) < 3 * median(first)
    again = [_seconds(world, url, number) for number in range(0, MANY, 5)]
    assert median(again) < 3 * median(first)
    assert _whole_state(classic, node.guid) < 8 * quarter  # what grows with the square would take 16 times as long


def _seconds(world: World, url: str, number: int) -> float:
    began = time.process_time()
    world.admin.request(order(url, f"service-{number}"))
    return time.process_time() - began


def _whole_state(classic: Classic, guid: str) -> float:
    """Seconds that it takes at best: what is made ready once is not counted."""
    return min(_state_seconds(classic, guid) for _ in range(4))


def _state_seconds(classic: Classic, guid: str) -> float:
    began = time.process_time()
    reply = classic.get("getFullComputerInformation", computer_id=guid)
    took = time.process_time() - began
    assert reply.status == 200
    assert len(reply.body) < SIZE * MANY
    return took
