"""Shared instances: served by others, with a name, parameters, a state and a connection of their own."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Thread

import pytest

from slap.client.master import Master
from slap.model.errors import BrokenRelease, CannotBePlaced, Conflict, InvalidInput, InvalidParameters
from slap.model.instance import Instance, InstanceRequest, Sla
from slap.model.node import DesiredInstance, InstanceReport
from slap.model.software import SupplyRequest
from slap.model.state import InstanceState, ReportedInstanceState, Status
from tests.contract.master.world import Node, World, order

pytestmark = pytest.mark.sql

CLIENTS = 8
STARTED, STOPPED, DESTROYED = InstanceState.STARTED, InstanceState.STOPPED, InstanceState.DESTROYED


def _shared(url: str, reference: str, **more: object) -> InstanceRequest:
    return order(url, reference, shared=True, **more)


def _host(world: World, partitions: int = 4) -> tuple[Node, str, Instance]:
    node = world.computer(partitions=partitions)
    url = world.supplied(node)
    return node, url, world.admin.request(order(url, "host"))


def _in(node: Node, host: Instance) -> DesiredInstance:
    return next(each for each in node.api.desired_state(node.guid).instances if each.guid == host.guid)


def _says(
    node: Node,
    host: Instance,
    state: ReportedInstanceState = ReportedInstanceState.STARTED,
    message: str = "",
    shared: dict[str, dict[str, object]] | None = None,
) -> None:
    node.report(InstanceReport(guid=host.guid, state=state, message=message, shared=shared))


def _served(world: World, node: Node, host: Instance, url: str, reference: str = "page") -> Instance:
    page = world.admin.request(_shared(url, reference))
    _says(node, host, shared={page.guid: {"url": f"http://{reference}"}})
    return world.admin.instance(page.guid)


def test_it_takes_no_partition_and_its_host_is_told_of_it_once(world: World) -> None:
    node, url, host = _host(world, partitions=1)
    known = node.api.desired_state(node.guid).revision
    page = world.admin.request(_shared(url, "page", parameters={"color": "blue"}))
    assert (page.shared, page.computer, page.partition) == (True, host.computer, host.partition)
    assert page.addresses == world.admin.instance(host.guid).addresses
    assert page.status is Status.WAITING
    (changed,) = node.api.desired_state(node.guid, since=known).instances
    assert changed.guid == host.guid
    (told,) = changed.shared
    assert (told.guid, told.reference, told.parameters) == (page.guid, "page", {"color": "blue"})
    assert (told.root_reference, told.state) == ("page", STARTED)
    known = node.api.desired_state(node.guid).revision
    assert world.admin.request(_shared(url, "page", parameters={"color": "blue"})).guid == page.guid
    assert node.api.desired_state(node.guid).revision == known
    assert [each.shared for each in world.admin.instances()] == [False, True]


def test_it_is_started_once_its_host_was_processed_with_it(world: World) -> None:
    node, url, host = _host(world)
    old = node.api.desired_state(node.guid).revision
    page = world.admin.request(_shared(url, "page"))
    late = InstanceReport(guid=host.guid, state=ReportedInstanceState.STARTED, revision=old)
    node.report(late)
    assert world.admin.instance(page.guid).status is Status.WAITING
    _says(node, host, ReportedInstanceState.INSTANTIATING)
    assert world.admin.instance(page.guid).status is Status.STARTING
    _says(node, host, shared={page.guid: {"url": "http://page"}, "INST-unknown": {"url": "x"}})
    found = world.admin.instance(page.guid)
    assert (found.status, found.connection) == (Status.STARTED, {"url": "http://page"})
    node.report(late.model_copy(update={"shared": {page.guid: {"url": "http://old"}}}))
    assert world.admin.instance(page.guid) == found


def test_only_the_node_of_its_host_publishes_for_it(world: World) -> None:
    node, url, host = _host(world)
    other = world.computer("two")
    elsewhere = world.admin.request(order(world.supplied(other, name="other"), "elsewhere"))
    page = _served(world, node, host, url)
    stolen: dict[str, dict[str, object]] = {page.guid: {"url": "http://evil"}}
    _says(other, elsewhere, shared=stolen)
    other.report(InstanceReport(guid=page.guid, state=ReportedInstanceState.ERROR, connection={"url": "http://evil"}))
    node.report(InstanceReport(guid=page.guid, state=ReportedInstanceState.ERROR, connection={"url": "http://evil"}))
    assert world.admin.instance(page.guid) == page


def test_a_change_of_one_says_nothing_of_its_siblings(world: World) -> None:
    node, url, host = _host(world)
    page = _served(world, node, host, url)
    other = world.admin.request(_shared(url, "other"))
    _says(node, host, ReportedInstanceState.INSTANTIATING)
    assert world.admin.instance(page.guid) == page
    _says(node, host)
    assert world.admin.instance(page.guid) == page
    assert world.admin.instance(other.guid).status is Status.STARTED


def test_it_fails_with_its_host_and_recovers_with_it(world: World) -> None:
    node, url, host = _host(world)
    page = _served(world, node, host, url)
    _says(node, host, ReportedInstanceState.ERROR, "it burns")
    found = world.admin.instance(page.guid)
    assert (found.status, found.message) == (Status.ERROR, "host, which serves it: it burns")
    _says(node, host)
    assert world.admin.instance(page.guid).status is Status.STARTED


def test_it_stops_and_starts_by_itself(world: World) -> None:
    node, url, host = _host(world)
    page = _served(world, node, host, url)
    world.admin.request(_shared(url, "page", state=STOPPED))
    assert [each.state for each in _in(node, host).shared] == [STOPPED]
    assert world.admin.instance(page.guid).status is Status.STOPPING
    _says(node, host)
    assert world.admin.instance(page.guid).status is Status.STOPPED
    world.admin.request(_shared(url, "page"))
    _says(node, host)
    assert world.admin.instance(page.guid).status is Status.STARTED


def test_it_is_not_served_by_a_host_that_is_stopped(world: World) -> None:
    node, url, host = _host(world)
    page = _served(world, node, host, url)
    world.admin.request(order(url, "host", state=STOPPED))
    _says(node, host, ReportedInstanceState.STOPPED)
    found = world.admin.instance(page.guid)
    assert (found.status, found.message) == (Status.ERROR, "host, which serves it, is stopped.")
    with pytest.raises(CannotBePlaced, match=r"(?s)No instance can serve late.*host \(INST-.*is requested stopped"):
        world.admin.request(_shared(url, "late"))
    world.admin.request(_shared(url, "page", parameters={"color": "red"}))
    world.admin.request(order(url, "host"))
    _says(node, host)
    assert world.admin.instance(page.guid).status is Status.STARTED


def test_destroyed_it_is_gone_once_its_host_was_processed_without_it(world: World) -> None:
    node, url, host = _host(world)
    page = _served(world, node, host, url)
    world.admin.request(order("", "page", state=DESTROYED))
    assert _in(node, host).shared == ()
    assert world.admin.instance(page.guid).status is Status.DESTROYING
    with pytest.raises(Conflict, match="is being destroyed"):
        world.admin.request(_shared(url, "page"))
    _says(node, host, ReportedInstanceState.INSTANTIATING)
    assert world.admin.instance(page.guid).status is Status.DESTROYING
    _says(node, host)
    assert world.admin.instance(page.guid).status is Status.DESTROYED
    assert world.admin.request(_shared(url, "page")).guid != page.guid


def test_destroyed_with_its_host_stopped_it_is_gone_as_well(world: World) -> None:
    node, url, host = _host(world)
    page = _served(world, node, host, url)
    world.admin.request(order(url, "host", state=STOPPED))
    world.admin.request(order("", "page", state=DESTROYED))
    _says(node, host, ReportedInstanceState.STOPPED)
    assert world.admin.instance(page.guid).status is Status.DESTROYED


def test_a_destroyed_host_leaves_it_in_error_until_it_is_requested_again(world: World) -> None:
    node, url, host = _host(world)
    page = _served(world, node, host, url)
    goner = _served(world, node, host, url, "goner")
    world.admin.request(order("", "host", state=DESTROYED))
    world.admin.request(order("", "goner", state=DESTROYED))
    _says(node, host, ReportedInstanceState.DESTROYED)
    found = world.admin.instance(page.guid)
    assert (found.status, found.connection) == (Status.ERROR, {})
    assert "host, which served it, is destroyed. Request it again" in found.message
    assert world.admin.instance(goner.guid).status is Status.DESTROYED
    with pytest.raises(CannotBePlaced, match="No instance can serve page"):
        world.admin.request(_shared(url, "page"))
    second = world.admin.request(order(url, "second"))
    again = world.admin.request(_shared(url, "page"))
    assert (again.guid, again.partition, again.status) == (page.guid, second.partition, Status.WAITING)
    _says(node, second, shared={page.guid: {"url": "http://again"}})
    assert world.admin.instance(page.guid).connection == {"url": "http://again"}


def test_without_anybody_left_to_serve_it_it_can_be_destroyed(world: World) -> None:
    node, url, host = _host(world)
    page = _served(world, node, host, url)
    world.admin.request(order("", "host", state=DESTROYED))
    _says(node, host, ReportedInstanceState.DESTROYED)
    world.admin.request(order("", "page", state=DESTROYED))
    assert world.admin.instance(page.guid).status is Status.DESTROYED
    assert world.admin.instances() == []


def test_it_goes_to_the_host_that_serves_fewest_and_does_not_fail(world: World) -> None:
    node, url, host = _host(world, partitions=3)
    hosts = [host, *(world.admin.request(order(url, name)) for name in ("second", "failing"))]
    _says(node, hosts[2], ReportedInstanceState.ERROR, "it burns")
    placed = Counter(world.admin.request(_shared(url, f"page-{number}")).partition for number in range(6))
    assert placed == {hosts[0].partition: 3, hosts[1].partition: 3}


def test_filters_choose_its_host(world: World) -> None:
    one, two = world.computer("one", labels={"zone": "paris"}), world.computer("two")
    url = world.supplied(one, two)
    hosts = {name: world.admin.request(order(url, name, sla=Sla(computer=name))) for name in ("one", "two")}

    names = iter("abc")

    def placed(sla: Sla) -> str:
        found = world.admin.request(_shared(url, "page-" + next(names), sla=sla))
        return found.computer

    assert placed(Sla(computer="two")) == two.guid
    assert placed(Sla(labels={"zone": "paris"})) == one.guid
    assert placed(Sla(instance=hosts["two"].guid)) == two.guid
    with pytest.raises(CannotBePlaced, match=r"one \(INST-\w+\): its computer one has no label gpu") as caught:
        world.admin.request(_shared(url, "page", sla=Sla(labels={"gpu": "yes"})))
    assert caught.value.resolution
    with pytest.raises(InvalidInput, match="not to be shared"):
        world.admin.request(order(url, "own", sla=Sla(instance=hosts["two"].guid)))


def test_nobody_is_served_by_what_belongs_to_somebody_else(world: World) -> None:
    _, url, host = _host(world)
    stranger = world.user("stranger")
    node = world.computer("theirs", owner=stranger)
    stranger.supply(SupplyRequest(url=url, computer=node.guid))
    for sla in (Sla(), Sla(instance=host.guid)):
        with pytest.raises(CannotBePlaced, match="There is no instance of"):
            stranger.request(_shared(url, "page", sla=sla))


def test_another_type_or_filter_moves_it(world: World) -> None:
    node, url, host = _host(world)
    other = world.admin.request(order(url, "other", software_type="other"))
    page = _served(world, node, host, url)
    moved = world.admin.request(_shared(url, "page", software_type="other"))
    assert (moved.guid, moved.partition, moved.connection) == (page.guid, other.partition, {})
    assert (_in(node, host).shared, len(_in(node, other).shared)) == ((), 1)
    back = world.admin.request(_shared(url, "page", sla=Sla(instance=host.guid)))
    assert back.partition == host.partition


def test_it_is_of_one_kind_for_ever(world: World) -> None:
    _, url, _ = _host(world)
    world.admin.request(_shared(url, "page"))
    with pytest.raises(Conflict, match="page is a shared instance"):
        world.admin.request(order(url, "page"))
    with pytest.raises(Conflict, match="host is an instance with a partition of its own"):
        world.admin.request(_shared(url, "host"))


def test_a_release_says_what_shared_instances_there_are_and_what_they_take(world: World) -> None:
    node = world.computer()
    url = world.release("frontend", schema={"type": "object"})
    folder = world.folder / "frontend"
    types = json.loads((folder / "software.cfg.json").read_text())
    types["software-type"]["default-slave"] = {"software-type": "default", "shared": True, "request": "shared.json"}
    (folder / "software.cfg.json").write_text(json.dumps(types))
    schema = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}
    (folder / "shared.json").write_text(json.dumps(schema))
    world.admin.supply(SupplyRequest(url=url, computer=node.guid))
    world.admin.request(order(url, "host"))
    with pytest.raises(InvalidParameters, match='"url" is a required property'):
        world.admin.request(_shared(url, "page"))
    assert world.admin.request(_shared(url, "page", parameters={"url": "http://x"})).shared
    with pytest.raises(BrokenRelease, match=r"(?s)no shared software type other.*Its shared types: default"):
        world.admin.request(_shared(url, "page", software_type="other"))
    with pytest.raises(BrokenRelease, match="no software type default-slave"):
        world.admin.request(order(url, "own", software_type="default-slave"))


def test_a_plan_names_those_who_might_serve(world: World) -> None:
    _, url, host = _host(world)
    plan = world.admin.plan(_shared(url, "page"))
    assert (plan.action, plan.computer) == ("create", host.computer)
    assert [(each.instance, each.title, each.serves) for each in plan.placements] == [(host.guid, "host", 0)]
    world.admin.request(_shared(url, "page"))
    assert world.admin.plan(_shared(url, "page")).action == "nothing"
    assert world.admin.plan(_shared(url, "page", parameters={"a": 1})).action == "update"


def _family(world: World) -> tuple[Node, str, Instance, Instance, Master, Instance]:
    """A host, and in another tree a partition that has a shared instance of it."""
    node, url, host = _host(world)
    root = world.admin.request(order(url, "root"))
    partition = world.partition(node, root)
    return node, url, host, root, partition, partition.request(_shared(url, "page", sla=Sla(instance=host.guid)))


def test_what_is_published_for_it_has_its_parent_processed_again(world: World) -> None:
    node, _, host, root, partition, page = _family(world)
    answers = []
    waiting = Thread(target=lambda: answers.append(partition.answer(page.guid, wait=20)))
    waiting.start()
    _says(node, host, ReportedInstanceState.INSTANTIATING, shared={page.guid: {"url": "http://x"}})
    waiting.join(20)
    assert answers[0].child.connection == {"url": "http://x"}
    assert _in(node, root).children == answers[0].children == 1
    _says(node, host, shared={page.guid: {"url": "http://x"}})
    assert _in(node, root).children == 1


def test_it_follows_the_states_of_its_own_tree(world: World) -> None:
    node, url, host, root, partition, page = _family(world)
    _says(node, host)
    world.admin.request(order(url, "root", state=STOPPED))
    assert [each.state for each in _in(node, host).shared] == [STOPPED]
    _says(node, host)
    assert partition.instance(page.guid).status is Status.STOPPED
    world.admin.request(order("", "root", state=DESTROYED))
    assert _in(node, host).shared == ()
    _says(node, host)
    node.report(InstanceReport(guid=root.guid, state=ReportedInstanceState.DESTROYED))
    assert world.admin.instance(page.guid).status is Status.DESTROYED
    assert [each.reference for each in world.admin.instances()] == ["host"]


def test_bang_reaches_each_partition_once(world: World) -> None:
    node, url, host, root, partition, _ = _family(world)
    partition.request(_shared(url, "more", sla=Sla(instance=host.guid)))
    world.admin.bang_instance(root.guid, "again")
    assert {each.guid: each.bang for each in node.api.desired_state(node.guid).instances} == {
        host.guid: 1,
        root.guid: 1,
    }


def test_a_parent_is_processed_again_when_the_host_of_its_child_is_gone(world: World) -> None:
    node, url, host, root, partition, page = _family(world)
    second = world.admin.request(order(url, "second"))
    _says(node, host, shared={page.guid: {"url": "http://x"}})
    before = _in(node, root).children
    world.admin.request(order("", "host", state=DESTROYED))
    _says(node, host, ReportedInstanceState.DESTROYED)
    assert _in(node, root).children == before + 1
    partition.request(_shared(url, "page"))
    assert partition.instance(page.guid).partition in (second.partition, root.partition)


def test_logs_are_those_of_the_host(world: World) -> None:
    _, _, host, _, _, page = _family(world)
    with pytest.raises(Conflict, match=f"(?s)page is a shared instance.*{host.guid}"):
        world.admin.logs(page.guid)


def test_eight_clients_order_a_hundred_shared_instances_while_the_node_reports(world: World) -> None:
    node, url, host = _host(world)
    second = world.admin.request(order(url, "second"))
    token, nodes_token = world.token.removeprefix("Bearer "), world.admin.new_computer_token(node.guid).token

    def client(number: int) -> list[str]:
        api, guids, reporter = world.speaking(token), [], Node(node.guid, world.speaking(nodes_token))
        for index in range(number, 100, CLIENTS):
            guids.append(api.request(_shared(url, f"page-{index}")).guid)
            if index % 10 == 3:
                api.request(_shared(url, f"page-{index}", parameters={"n": index}))
            if index % 10 == 7:
                api.request(order("", f"page-{index}", state=DESTROYED))
            if index % 5 == 0:
                _says(reporter, host)
                _says(reporter, second)
        return guids

    with ThreadPoolExecutor(CLIENTS) as pool:
        guids = [guid for some in pool.map(client, range(CLIENTS)) for guid in some]
    assert len(set(guids)) == 100
    node = Node(node.guid, world.speaking(nodes_token))
    for each in (host, second):
        _says(node, each)
    told = [each for desired in (host, second) for each in _in(node, desired).shared]
    assert len(told) == len({each.guid for each in told}) == 90
    assert all(each.parameters == {"n": int(each.reference[5:])} for each in told if each.reference.endswith("3"))
    pages = [each for each in world.admin.instances() if each.shared]
    assert (len(pages), {each.status for each in pages}) == (90, {Status.STARTED})
    served = Counter(each.partition for each in pages)
    assert sum(served.values()) == 90
    placements = world.admin.plan(_shared(url, "one-more")).placements
    assert {each.instance: each.serves for each in placements} == {
        each.guid: served[each.partition] for each in (host, second)
    }


def test_the_same_name_from_everybody_is_one_shared_instance(world: World) -> None:
    node, url, host = _host(world)
    token = world.token.removeprefix("Bearer ")

    def client(number: int) -> list[str]:
        api = world.speaking(token)
        return [api.request(_shared(url, f"page-{index}", parameters={"by": number})).guid for index in range(10)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        guids = {guid for some in pool.map(client, range(CLIENTS)) for guid in some}
    assert len(guids) == len(_in(node, host).shared) == 10


def test_orders_while_their_hosts_are_destroyed_end_somewhere_or_are_refused(world: World) -> None:
    node = world.computer(partitions=CLIENTS)
    url = world.supplied(node)
    hosts = [world.admin.request(order(url, f"host-{number}")) for number in range(CLIENTS)]
    token = world.token.removeprefix("Bearer ")

    def client(number: int) -> None:
        api = world.speaking(token)
        for index in range(8):
            with suppress(CannotBePlaced):
                api.request(_shared(url, f"page-{number}-{index}"))
            if index == number:
                api.request(order("", f"host-{number}", state=DESTROYED))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    for host in hosts:
        _says(node, host, ReportedInstanceState.DESTROYED)
    pages = world.admin.instances()
    assert pages
    assert {each.shared for each in pages} == {True}
    assert {each.status for each in pages} == {Status.ERROR}
