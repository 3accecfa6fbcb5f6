"""Renaming: all stays but the name."""

import pytest

from slap.model.errors import Conflict, Forbidden, NotFound
from slap.model.node import InstanceReport
from slap.model.state import InstanceState, ReportedInstanceState
from tests.contract.master.world import World, order

pytestmark = pytest.mark.sql


def test_a_renamed_instance_is_the_same_under_another_name(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    root = world.admin.request(order(url, "old"))
    child = world.partition(node, root).request(order(url, "child"))
    known = node.api.desired_state(node.guid).revision
    found = world.admin.rename_instance(root.guid, "new")
    assert (found.guid, found.reference) == (root.guid, "new")
    assert world.admin.request(order(url, "new")).guid == root.guid
    assert world.admin.instances("old") == []
    told = {each.guid: each for each in node.api.desired_state(node.guid, since=known).instances}
    assert told[root.guid].reference == told[child.guid].root_reference == "new"
    (change,) = world.admin.history(root.guid)[-1].changes
    assert (change.field, change.before, change.after) == ("reference", '"old"', '"new"')
    known = node.api.desired_state(node.guid).revision
    world.admin.rename_instance(root.guid, "new")
    assert node.api.desired_state(node.guid).revision == known


def test_no_two_have_one_name_and_a_name_that_was_given_up_is_free(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    first, second = (world.admin.request(order(url, name)) for name in ("first", "second"))
    with pytest.raises(Conflict, match="There is an instance second already"):
        world.admin.rename_instance(first.guid, "second")
    world.admin.rename_instance(second.guid, "third")
    world.admin.rename_instance(first.guid, "second")
    assert {each.reference: each.guid for each in world.admin.instances()} == {
        "second": first.guid,
        "third": second.guid,
    }


def test_a_partition_renames_itself_and_its_children_and_nothing_else(world: World) -> None:
    node = world.computer(partitions=4)
    url = world.supplied(node)
    root, other = world.admin.request(order(url, "root")), world.admin.request(order(url, "other"))
    partition = world.partition(node, root)
    child = partition.request(order(url, "child"))
    sibling = partition.request(order(url, "sibling"))
    assert partition.rename_instance(root.guid, "myself").reference == "myself"
    assert partition.rename_instance(child.guid, "kid").reference == "kid"
    assert world.partition(node, child).rename_instance(child.guid, "me").reference == "me"
    for guid, kind in ((sibling.guid, Forbidden), (root.guid, Forbidden), (other.guid, NotFound)):
        with pytest.raises(kind):
            world.partition(node, child).rename_instance(guid, "mine")
    with pytest.raises(Forbidden):
        node.api.rename_instance(root.guid, "ours")
    with pytest.raises(NotFound):
        world.user("stranger").rename_instance(root.guid, "theirs")


def test_what_is_to_go_keeps_its_name(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    root = world.admin.request(order(url, "root"))
    world.admin.request(order("", "root", state=InstanceState.DESTROYED))
    with pytest.raises(Conflict, match="is being destroyed"):
        world.admin.rename_instance(root.guid, "new")
    node.report(InstanceReport(guid=root.guid, state=ReportedInstanceState.DESTROYED))
    with pytest.raises(Conflict, match="is being destroyed"):
        world.admin.rename_instance(root.guid, "new")


def test_the_host_of_a_shared_instance_learns_its_name(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    world.admin.request(order(url, "host"))
    page = world.admin.request(order(url, "page", shared=True))
    world.admin.rename_instance(page.guid, "leaf")
    (host,) = node.api.desired_state(node.guid).instances
    assert [(each.reference, each.root_reference) for each in host.shared] == [("leaf", "leaf")]
