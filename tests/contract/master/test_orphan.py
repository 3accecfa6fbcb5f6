"""Orphans go, siblings stay; instances of one tree that keep away from each other."""

import asyncio
from collections.abc import Collection

import pytest

from slap.client.master import Master
from slap.master.access.auth import Caller, CallerKind
from slap.master.app import open_store
from slap.master.service.orphan import collect
from slap.model.errors import CannotBePlaced, Conflict
from slap.model.instance import Instance, Sla, Spread
from slap.model.state import InstanceState
from tests.contract.master.world import Node, World, order

pytestmark = pytest.mark.sql


def _collect(world: World, root: Instance, requested: Collection[str]) -> list[str]:
    """What a façade does with the list that a node of an older protocol sends."""

    async def run() -> list[str]:
        store = open_store(world.database)
        try:
            return await collect(store, Caller(CallerKind.PARTITION, root.guid, "admin", root.guid), requested)
        finally:
            await store.close()

    return asyncio.run(run())


def _family(world: World) -> tuple[Node, str, Instance, Master]:
    node = world.computer(partitions=8)
    url = world.supplied(node)
    root = world.admin.request(order(url, "root"))
    return node, url, root, world.partition(node, root)


def test_what_a_partition_does_not_request_any_more_is_destroyed_with_all_below(world: World) -> None:
    node, url, root, partition = _family(world)
    kept, orphan = (partition.request(order(url, name)) for name in ("kept", "orphan"))
    grandchild = world.partition(node, orphan).request(order(url, "grandchild"))
    served = partition.request(order(url, "served", shared=True, sla=Sla(instance=kept.guid)))
    assert _collect(world, root, ("kept", "unknown")) == ["orphan", "served"]
    assert _collect(world, root, ("kept",)) == []
    requested = {each.guid: each.requested for each in world.admin.tree(root.guid).instances}
    assert {guid for guid, state in requested.items() if state is InstanceState.DESTROYED} == {
        orphan.guid,
        grandchild.guid,
        served.guid,
    }
    last = world.admin.history(orphan.guid)[-1]
    assert (last.by, [(each.field, each.after) for each in last.changes]) == (root.guid, [("state", '"destroyed"')])


def test_spread_instances_are_never_together(world: World) -> None:
    one, two = world.computer("one", network="lan"), world.computer("two", network="wan")
    three = world.computer("three")
    url = world.supplied(one, two, three)
    root = world.admin.request(order(url, "root", sla=Sla(computer="one")))
    partition = world.partition(one, root)
    apart = Sla(spread=Spread.BY_NETWORK)
    assert partition.request(order(url, "a", sla=apart)).computer == two.guid
    with pytest.raises(CannotBePlaced) as caught:
        partition.request(order(url, "b", sla=apart))
    assert "network lan has another instance of this tree" in caught.value.details
    assert "three" in caught.value.details
    assert "is in no network" in caught.value.details
    third = partition.request(order(url, "c", sla=Sla(spread=Spread.BY_COMPUTER)))
    assert third.computer == three.guid
    assert partition.request(order(url, "c", sla=Sla(computer="three", spread=Spread.BY_COMPUTER))).guid == third.guid
    near = partition.request(order(url, "d", sla=Sla(computer="three")))
    with pytest.raises(Conflict, match="has another instance of this tree"):
        partition.request(order(url, near.reference, sla=Sla(spread=Spread.BY_COMPUTER)))
