"""Many at once: no order is lost, none is doubled, no partition is given twice."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from slap.model.errors import CannotBePlaced
from slap.model.node import InstanceReport
from slap.model.state import InstanceState, ReportedInstanceState
from tests.contract.master.world import World, order

pytestmark = pytest.mark.sql

CLIENTS = 8


def _each_client(work: Callable[[int], list[str]]) -> list[str]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return [guid for guids in pool.map(work, range(CLIENTS)) for guid in guids]


def test_eight_clients_lose_no_order_and_share_no_partition(world: World) -> None:
    nodes = [world.computer("one", partitions=200), world.computer("two", partitions=120)]
    url = world.supplied(*nodes)

    def client(number: int) -> list[str]:
        api = world.speaking(world.token.removeprefix("Bearer "))
        return [api.request(order(url, f"{number}-{index}")).guid for index in range(40)]

    guids = _each_client(client)
    assert len(set(guids)) == 320
    instances = [each for node in nodes for each in node.api.desired_state(node.guid).instances]
    assert {each.guid for each in instances} == set(guids)
    assert Counter(each.computer for each in world.admin.instances()) == {nodes[0].guid: 200, nodes[1].guid: 120}
    assert len({(each.computer, each.partition) for each in world.admin.instances()}) == 320
    assert [computer.free_partitions for computer in world.admin.computers()] == [0, 0]


def test_the_same_order_from_everybody_is_one_instance_and_the_last_partition_goes_to_one(world: World) -> None:
    node = world.computer(partitions=20)
    url = world.supplied(node)

    def client(number: int) -> list[str]:
        api, got = world.speaking(world.token.removeprefix("Bearer ")), []
        for index in range(30):
            try:
                got.append(api.request(order(url, f"shared-{index}", parameters={"by": number})).guid)
            except CannotBePlaced:
                continue
        return got

    guids = _each_client(client)
    assert len(guids) >= 20 * CLIENTS - 10 * CLIENTS
    assert len(set(guids)) == 20
    assert len({each.partition for each in node.api.desired_state(node.guid).instances}) == 20


def test_orders_destructions_and_reports_at_once_leave_a_true_count(world: World) -> None:
    node = world.computer(partitions=CLIENTS)
    url = world.supplied(node)

    def client(number: int) -> list[str]:
        api, reporter = world.speaking(world.token.removeprefix("Bearer ")), world.speaking(node_token)
        guids = []
        for _ in range(12):
            instance = api.request(order(url, f"service-{number}"))
            api.request(order("", f"service-{number}", state=InstanceState.DESTROYED))
            gone = InstanceReport(guid=instance.guid, state=ReportedInstanceState.DESTROYED)
            type(node)(node.guid, reporter).report(gone, gone)
            guids.append(instance.guid)
        return guids

    node_token = world.admin.new_computer_token(node.guid).token
    assert len(set(_each_client(client))) == 12 * CLIENTS
    assert world.admin.computer(node.guid).free_partitions == CLIENTS
    assert world.speaking(node_token).desired_state(node.guid).instances == ()
