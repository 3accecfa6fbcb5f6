"""Computers: registered once, configured by their nodes."""

import pytest

from slap.model.computer import ComputerConfiguration, ComputerRegistration, Partition
from slap.model.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from tests.contract.master.world import World, order, until

pytestmark = pytest.mark.sql


def test_two_nodes_with_one_name_are_told_apart(world: World) -> None:
    node = world.computer("paris")
    with pytest.raises(Conflict) as caught:
        world.admin.register_computer(ComputerRegistration(title="paris"))
    assert node.guid in caught.value.brief
    assert "slapos node register --replace" in caught.value.resolution
    with pytest.raises(Conflict):
        world.admin.register_computer(ComputerRegistration(title="rome", guid=node.guid, replace=True))
    with pytest.raises(Conflict):
        world.user("eve").register_computer(ComputerRegistration(title="paris", guid=node.guid, replace=True))
    again = world.admin.register_computer(ComputerRegistration(title="paris", replace=True))
    assert again.guid == node.guid
    assert world.speaking(again.token).computer(node.guid).title == "paris"
    with pytest.raises(Unauthenticated):
        node.api.computer(node.guid)


def test_the_name_that_somebody_gives_is_kept(world: World) -> None:
    assert world.admin.register_computer(ComputerRegistration(title="a", guid="COMP-1")).guid == "COMP-1"
    assert world.user("eve").register_computer(ComputerRegistration(title="a")).guid.startswith("COMP-")


def test_a_new_token_ends_the_ones_before_it(world: World) -> None:
    node = world.computer()
    fresh = world.admin.new_computer_token(node.guid)
    assert world.speaking(fresh.token).desired_state(node.guid).computer == node.guid
    with pytest.raises(Unauthenticated):
        node.api.desired_state(node.guid)


def test_a_computer_is_shown_with_what_runs_on_it(world: World) -> None:
    node = world.computer(partitions=2, labels={"zone": "paris"}, capabilities=frozenset({"kvm"}), network="lan")
    instance = world.admin.request(order(world.supplied(node)))
    shown = world.admin.computer(node.guid)
    assert [(use.partition.name, use.instance, use.reference) for use in shown.partitions] == [
        ("slappart0", instance.guid, "service"),
        ("slappart1", "", ""),
    ]
    assert (shown.free_partitions, shown.configuration.labels, shown.configuration.network) == (
        1,
        {"zone": "paris"},
        "lan",
    )
    assert [each.guid for each in world.admin.computers()] == [node.guid]
    assert world.admin.computers()[0].partitions == ()


def test_formatting_again_keeps_what_runs_and_refuses_to_lose_it(world: World) -> None:
    node = world.computer(partitions=2)
    instance = world.admin.request(order(world.supplied(node)))
    more = [Partition(name=f"slappart{number}", ipv4=(f"127.2.0.{number}",)) for number in range(4)]
    assert node.api.configure_computer(node.guid, ComputerConfiguration(partitions=tuple(more))).free_partitions == 3
    assert world.admin.instance(instance.guid).addresses == ("127.2.0.0",)
    with pytest.raises(Conflict) as caught:
        node.api.configure_computer(node.guid, ComputerConfiguration(partitions=tuple(more[1:])))
    assert caught.value.details == f"slappart0: {instance.guid}"
    with pytest.raises(InvalidInput, match="slappart1"):
        node.api.configure_computer(node.guid, ComputerConfiguration(partitions=(more[1], more[1])))


def test_a_node_is_seen_when_it_asks(world: World) -> None:
    node = world.computer()
    assert world.admin.computer(node.guid).seen_at is None
    node.api.desired_state(node.guid)
    until(lambda: world.admin.computer(node.guid).seen_at)


def test_a_computer_speaks_only_for_itself_and_a_user_sees_only_their_own(world: World) -> None:
    node, other = world.computer("one"), world.computer("two")
    eve = world.user("eve")
    assert eve.computers() == []
    for hidden in (
        lambda: eve.computer(node.guid),
        lambda: eve.bang_computer(node.guid, ""),
        lambda: eve.new_computer_token(node.guid),
        lambda: node.api.computer(other.guid),
        lambda: node.api.configure_computer(other.guid, ComputerConfiguration(partitions=())),
    ):
        with pytest.raises(NotFound):
            hidden()
    for forbidden in (
        lambda: node.api.desired_state(other.guid),
        lambda: eve.desired_state(node.guid),
        lambda: node.api.register_computer(ComputerRegistration(title="mine")),
        lambda: node.api.new_computer_token(node.guid),
    ):
        with pytest.raises(Forbidden):
            forbidden()
    assert [each.guid for each in node.api.computers()] == [node.guid]
