"""Many at once over JSON-RPC: no order is lost, none is doubled, no partition is given twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.master.rpc import Rpc
from tests.contract.master.world import World

pytestmark = pytest.mark.sql

CLIENTS = 8
ORDERS = 300


def test_300_orders_of_8_clients_are_300_partitions(world: World) -> None:
    nodes = [world.computer("one", partitions=200), world.computer("two", partitions=100)]
    url = world.supplied(*nodes)

    def client(number: int) -> list[tuple[str, str, str]]:
        rpc = Rpc(world, world.token.removeprefix("Bearer "))
        asked = {"software_release_uri": url, "software_type": "default"}
        got = [
            rpc.call("post.v0.software_instance", title=f"service-{index}", **asked)
            for index in range(number, ORDERS, CLIENTS)
        ]
        return [(each["title"], each["computer_guid"], each["compute_partition_id"]) for each in got]

    with ThreadPoolExecutor(CLIENTS) as pool:
        got = [each for found in pool.map(client, range(CLIENTS)) for each in found]
    assert {title for title, _, _ in got} == {f"service-{index}" for index in range(ORDERS)}
    assert len({(computer, partition) for _, computer, partition in got}) == ORDERS
    user = Rpc(world, world.token.removeprefix("Bearer "))
    assert len(user.call("allDocs.v0.instance_tree_list")["result_list"]) == ORDERS
    assert [each.free_partitions for each in world.admin.computers()] == [0, 0]
