"""Instances are requested, changed, stopped and destroyed; the same request again changes nothing."""

import pytest

from slap.model.errors import CannotBePlaced, Conflict, InvalidParameters, NotFound, SlapError
from slap.model.instance import Sla
from slap.model.node import InstanceReport
from slap.model.state import InstanceState, ReportedInstanceState, Status
from tests.contract.master.world import World, order

pytestmark = pytest.mark.sql

SCHEMA = {
    "type": "object",
    "properties": {"port": {"type": "integer"}, "title": {"type": "string"}},
    "additionalProperties": False,
}
GONE = ReportedInstanceState.DESTROYED


def test_a_request_is_placed_and_the_same_again_finds_it(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    first = world.admin.request(order(url, parameters={"b": 1, "a": [2]}))
    revision = node.api.desired_state(node.guid).revision
    assert world.admin.request(order(url, parameters={"a": [2], "b": 1})) == first
    assert (first.computer, first.partition, first.addresses) == (node.guid, "slappart0", ("127.1.0.0",))
    assert (first.status, first.requester, first.root) == (Status.WAITING, "user:admin", first.guid)
    assert node.api.desired_state(node.guid).revision == revision
    assert len(world.admin.history(first.guid)) == 1


def test_a_different_request_changes_the_instance_where_it_is(world: World) -> None:
    node = world.computer()
    url, other = world.supplied(node), world.supplied(node, name="other")
    first = world.admin.request(order(url, parameters={"a": 1}))
    world.admin.request(order(url, parameters={"a": 2}))
    last = world.admin.request(order(other, software_type="big", parameters={"a": 2}))
    assert (last.guid, last.partition) == (first.guid, first.partition)
    assert (last.software_release, last.software_type, last.parameters) == (other, "big", {"a": 2})
    history = world.admin.history(first.guid)
    assert [[change.field for change in entry.changes] for entry in history] == [
        [],
        ["parameters.a"],
        ["software_release", "software_type"],
    ]
    assert (history[1].changes[0].before, history[1].changes[0].after) == ("1", "2")
    assert (history[1].by, history[1].number) == ("user:admin", 2)


def test_all_parameters_that_break_the_schema_are_named_at_once_and_nothing_is_stored(world: World) -> None:
    url = world.supplied(world.computer(), schema=SCHEMA)
    with pytest.raises(InvalidParameters) as caught:
        world.admin.request(order(url, parameters={"port": "80", "title": 1, "color": "red"}))
    assert caught.value.details.splitlines() == [
        '$.port: "80" is not of type "integer"',
        '$.title: 1 is not of type "string"',
        "$: Additional properties are not allowed ('color' was unexpected)",
    ]
    assert world.admin.instances() == []


def test_requests_that_cannot_be_met_say_why_and_what_to_do(world: World) -> None:
    node = world.computer(labels={"zone": "paris"})
    url = world.supplied(node, schema=SCHEMA)
    cases = [
        (order(url.replace("release", "realease")), NotFound, "Did you mean", "slapos supply"),
        (order(url, software_type="defualt"), SlapError, "Its types: default", "Did you mean default?"),
        (order(url, sla=Sla(computer="onee")), NotFound, "Did you mean one", "slapos computer list"),
        (order(url, sla=Sla(labels={"zone": "rome"})), CannotBePlaced, "label zone=paris, not rome", "Ask for less"),
        (order(url, sla=Sla(capabilities=frozenset({"kvm"}))), CannotBePlaced, "lacks capability kvm", "Ask"),
        (order(url, state=InstanceState.DESTROYED), NotFound, "", "slapos service list"),
        (order("ftp://x"), SlapError, "'ftp' is not known", "Use a path"),
    ]
    for request, kind, details, resolution in cases:
        with pytest.raises(kind) as caught:
            world.admin.request(request)
        assert details in caught.value.details
        assert resolution in caught.value.resolution
    assert world.admin.computer("one").free_partitions == 3


def test_a_full_cloud_says_so_for_each_computer(world: World) -> None:
    small, unsupplied = world.computer("small", partitions=1), world.computer("unsupplied")
    url = world.supplied(small)
    world.admin.request(order(url))
    with pytest.raises(CannotBePlaced) as caught:
        world.admin.request(order(url, "another"))
    assert caught.value.exit_code == 4
    assert caught.value.details.splitlines() == [
        f"small ({small.guid}): has no free partition",
        f"unsupplied ({unsupplied.guid}): does not have the software release",
    ] or set(caught.value.details.splitlines()) == {
        f"small ({small.guid}): has no free partition",
        f"unsupplied ({unsupplied.guid}): does not have the software release",
    }


def test_load_spreads_to_the_emptiest_computer_that_fits(world: World) -> None:
    small, large = world.computer("small", partitions=2), world.computer("large", partitions=4)
    url = world.supplied(small, large)
    where = [world.admin.request(order(url, f"s{number}")).computer for number in range(6)]
    assert where.count(large.guid) == 4
    assert where[0] == where[1] == large.guid
    chosen = Sla(computer="small")
    with pytest.raises(CannotBePlaced):
        world.admin.request(order(url, "seventh", sla=chosen))


def test_stopping_and_starting_are_requests_like_any_other(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    instance = world.admin.request(order(url))
    node.report(InstanceReport(guid=instance.guid, state=ReportedInstanceState.STARTED))
    assert world.admin.request(order(url, state=InstanceState.STOPPED)).status is Status.STOPPING
    assert node.api.desired_state(node.guid).instances[0].state is InstanceState.STOPPED
    assert world.admin.request(order(url)).status is Status.STARTING
    node.report(InstanceReport(guid=instance.guid, state=ReportedInstanceState.STARTED))
    assert world.admin.instance(instance.guid).status is Status.STARTED


def test_a_destroyed_instance_frees_its_partition_and_its_name_once_its_node_removed_it(world: World) -> None:
    node = world.computer(partitions=1)
    url = world.supplied(node)
    first = world.admin.request(order(url))
    assert world.admin.request(order("", state=InstanceState.DESTROYED)).status is Status.DESTROYING
    assert world.admin.request(order("", state=InstanceState.DESTROYED)).status is Status.DESTROYING
    with pytest.raises(Conflict, match="is being destroyed"):
        world.admin.request(order(url))
    node.report(InstanceReport(guid=first.guid, state=GONE))
    assert world.admin.instances() == []
    assert world.admin.instance(first.guid).status is Status.DESTROYED
    assert world.admin.tree(first.guid).is_settled
    again = world.admin.request(order(url))
    assert (again.guid != first.guid, again.partition) == (True, first.partition)


def test_an_instance_does_not_move_by_itself(world: World) -> None:
    node, other = world.computer("one"), world.computer("other")
    url = world.supplied(node)
    elsewhere = world.supplied(other, name="elsewhere")
    world.admin.request(order(url))
    with pytest.raises(Conflict, match="does not move by itself"):
        world.admin.request(order(url, sla=Sla(computer=other.guid)))
    with pytest.raises(NotFound, match="is not supplied"):
        world.admin.request(order(elsewhere))
    assert world.admin.request(order(url, sla=Sla(computer=node.guid))).sla.computer == node.guid


def test_a_plan_says_what_a_request_would_do_and_does_not_do_it(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    plan = world.admin.plan(order(url))
    assert (plan.action, plan.computer, plan.placements[0].refusals) == ("create", node.guid, ())
    assert world.admin.instances() == []
    instance = world.admin.request(order(url))
    assert world.admin.plan(order(url)).action == "nothing"
    changed = world.admin.plan(order(url, parameters={"a": 1}))
    assert (changed.action, changed.partition) == ("update", instance.partition)
    assert [(change.field, change.after) for change in changed.changes] == [("parameters.a", "1")]
    nowhere = world.admin.plan(order(url, "x", sla=Sla(network="mars")))
    assert (nowhere.computer, nowhere.placements[0].refusals) == ("", ("is in network (none), not in mars",))
