"""A master with many partitions does better than slapproxy did, though that was measured on a quiet machine."""

import time
from statistics import median

from tests.contract.master.classic import Classic
from tests.contract.master.world import World, order

MANY = 1000
# Measured with slapproxy of slapos.core 1.26.1.
REPEATED = 137  # orders a second at 5,000 partitions
STATE = 2.7 / 5000  # seconds for each partition of the whole state
SIZE = 10_000_000 / 5000  # bytes, likewise


def test_a_thousand_partitions_do_not_slow_it_down(world: World) -> None:
    node = world.computer(partitions=MANY)
    url = world.supplied(node)
    new = [_seconds(world, url, number) for number in range(MANY)]
    assert median(new[-200:]) < 3 * median(new[:200])
    again = [_seconds(world, url, number) for number in range(0, MANY, 5)]
    assert len(again) / sum(again) > REPEATED
    _whole_state(Classic(world.address, world.token), node.guid)


def _seconds(world: World, url: str, number: int) -> float:
    began = time.monotonic()
    world.admin.request(order(url, f"service-{number}"))
    return time.monotonic() - began


def _whole_state(classic: Classic, guid: str) -> None:
    classic.get("getFullComputerInformation", computer_id=guid)  # what is made ready once is not counted
    began = time.monotonic()
    reply = classic.get("getFullComputerInformation", computer_id=guid)
    assert time.monotonic() - began < STATE * MANY
    assert reply.status == 200
    assert len(reply.body) < SIZE * MANY
