"""Instance trees: what partitions request lives and dies with their root."""

from threading import Thread

import pytest

from slap.client.master import Master
from slap.client.native import NativeMaster
from slap.model.errors import Conflict, Forbidden, NotFound, Unauthenticated
from slap.model.instance import Instance, InstanceTree
from slap.model.node import InstanceReport
from slap.model.state import InstanceState, ReportedInstanceState
from tests.contract.master.world import Node, World, order, serving

pytestmark = pytest.mark.sql

STOPPED, DESTROYED = InstanceState.STOPPED, InstanceState.DESTROYED


def _family(world: World) -> tuple[Node, str, Instance, Master, Instance]:
    node = world.computer(partitions=6)
    url = world.supplied(node)
    root = world.admin.request(order(url))
    partition = world.partition(node, root)
    return node, url, root, partition, partition.request(order(url, "child"))


def test_a_child_belongs_to_the_tree_of_its_parent(world: World) -> None:
    _, _, root, partition, child = _family(world)
    assert (child.root, child.requester) == (root.guid, root.guid)
    assert [each.guid for each in world.admin.tree(root.guid).instances] == [root.guid, child.guid]
    assert [each.guid for each in world.admin.instances()] == [root.guid]
    assert [each.guid for each in partition.instances()] == [child.guid]


def test_a_partition_sees_its_own_tree_and_nothing_else(world: World) -> None:
    node, url, root, partition, child = _family(world)
    other = world.admin.request(order(url, "other"))
    assert partition.instance(child.guid).guid == child.guid
    assert world.partition(node, child).instance(root.guid).guid == root.guid
    for hidden in (
        lambda: partition.instance(other.guid),
        lambda: partition.tree(other.guid),
        lambda: partition.history(other.guid),
        lambda: partition.bang_instance(other.guid, ""),
        lambda: partition.logs(other.guid),
    ):
        with pytest.raises(NotFound):
            hidden()
    for forbidden in (partition.computers, partition.supplies, lambda: node.api.request(order(url, "mine"))):
        with pytest.raises(Forbidden):
            forbidden()


def test_what_a_child_publishes_has_its_parent_processed_again(world: World) -> None:
    node, _, root, _, child = _family(world)
    known = node.api.desired_state(node.guid).revision
    report = InstanceReport(guid=child.guid, state=ReportedInstanceState.STARTED, connection={"url": "http://x"})
    node.report(report)
    (changed,) = node.api.desired_state(node.guid, since=known).instances
    assert (changed.guid, changed.children) == (root.guid, 1)
    known = node.api.desired_state(node.guid).revision
    node.report(report)
    assert node.api.desired_state(node.guid).revision == known


def test_states_go_down_the_tree_and_come_back_as_they_were_wanted(world: World) -> None:
    node, url, _, partition, child = _family(world)
    idle = partition.request(order(url, "idle", state=STOPPED))
    grandchild = world.partition(node, child).request(order(url, "grandchild"))

    def states() -> dict[str, str]:
        return {each.guid: each.state for each in node.api.desired_state(node.guid).instances}

    world.admin.request(order(url, state=STOPPED))
    assert set(states().values()) == {"stopped"}
    late = partition.request(order(url, "late"))
    assert late.requested is STOPPED
    world.admin.request(order(url))
    assert states()[grandchild.guid] == states()[late.guid] == "started"
    assert states()[idle.guid] == "stopped"
    world.admin.request(order("", state=DESTROYED))
    assert set(states().values()) == {"destroyed"}
    with pytest.raises(Conflict, match="is being destroyed"):
        partition.request(order(url, "too-late"))


def test_a_destroyed_branch_leaves_the_rest_alone_and_its_token_dies_with_it(world: World) -> None:
    node, url, root, partition, child = _family(world)
    grandchild = world.partition(node, child).request(order(url, "grandchild"))
    token = node.token_of(child)
    partition.request(order("", "child", state=DESTROYED))
    states = {each.guid: each.state for each in node.api.desired_state(node.guid).instances}
    assert states == {root.guid: "started", child.guid: "destroyed", grandchild.guid: "destroyed"}
    for each in (child, grandchild):
        node.report(InstanceReport(guid=each.guid, state=ReportedInstanceState.DESTROYED))
    assert [each.guid for each in world.admin.tree(root.guid).instances] == [root.guid]
    with serving(world.database) as fresh, pytest.raises(Unauthenticated):
        NativeMaster(fresh, token).instances()


def test_bang_has_the_whole_tree_processed_again(world: World) -> None:
    node, url, _, _, child = _family(world)
    world.admin.request(order(url, "other"))
    world.admin.bang_instance(child.guid, "again")
    assert sorted(each.bang for each in node.api.desired_state(node.guid).instances) == [0, 1, 1]
    node.api.bang_computer(node.guid, "again")
    assert sorted(each.bang for each in node.api.desired_state(node.guid).instances) == [1, 2, 2]


def test_whoever_follows_a_tree_is_woken_by_every_report(world: World) -> None:
    node, _, root, _, child = _family(world)
    known = world.admin.tree(root.guid).revision
    assert world.admin.tree(root.guid, since=known, wait=0.05).revision == known
    seen: list[InstanceTree] = []
    follower = Thread(target=lambda: seen.append(world.user("admin").tree(root.guid, since=known, wait=20)))
    follower.start()
    node.report(InstanceReport(guid=child.guid, state=ReportedInstanceState.ERROR, message="it burns"))
    follower.join(10)
    assert seen[0].revision > known
    assert [each.message for each in seen[0].instances] == ["", "it burns"]


def test_a_parent_is_answered_as_soon_as_its_child_publishes(world: World) -> None:
    node, _, root, partition, child = _family(world)
    assert partition.answer(child.guid, wait=0).children == 0
    report = InstanceReport(guid=child.guid, state=ReportedInstanceState.STARTED, connection={"url": "http://x"})
    publishing = Thread(target=node.report, args=(report,))
    publishing.start()
    answer = partition.answer(child.guid, wait=20)
    publishing.join()
    assert (answer.child.connection, answer.children) == ({"url": "http://x"}, 1)
    with pytest.raises(NotFound):
        world.partition(node, child).answer(root.guid, wait=0)
    with pytest.raises(Forbidden):
        world.admin.answer(child.guid, wait=0)
