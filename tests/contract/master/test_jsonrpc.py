"""The JSON-RPC methods of SlapOS, on each database: what each one does, and that it answers as its schema says."""

from typing import Any

import pytest

from slap.model.instance import Instance
from slap.model.state import ReportedInstanceState, ReportedSupplyState, Status
from tests.contract.master.rpc import ANSWERS, Rpc
from tests.contract.master.world import Node, World, until

TIOXML = """<?xml version='1.0' encoding='utf-8'?><journal><transaction type="Sale Packing List">
<title>Eucalyptus</title><start_date>2026-01-01 00:00:00</start_date><stop_date>2026-01-01 00:01:00</stop_date>
<reference>2026-01-01-global</reference><currency></currency><payment_mode></payment_mode><category></category>
<arrow type="Administration"><source></source><destination></destination></arrow>
</transaction></journal>"""


@pytest.fixture
def user(world: World) -> Rpc:
    return Rpc(world, world.token.removeprefix("Bearer "))


@pytest.fixture
def node(world: World) -> Node:
    return world.computer()


@pytest.fixture
def agent(world: World, node: Node) -> Rpc:
    """The node of the computer, as it speaks for it over this protocol."""
    return Rpc(world, world.admin.new_computer_token(node.guid).token)


@pytest.fixture
def url(world: World, node: Node) -> str:
    return world.supplied(node)


def ordered(rpc: Rpc, url: str, title: str = "service", **more: Any) -> dict[str, Any]:
    body = {"title": title, "software_release_uri": url, "software_type": "default", **more}
    return dict(rpc.call("post.v0.software_instance", **body))


def partition(world: World, agent: Rpc, guid: str) -> Rpc:
    """The program of an instance, with the token that its node gives it."""
    instance = world.admin.instance(guid)
    state = world.speaking(agent.token).desired_state(instance.computer)
    return Rpc(world, next(each.token for each in state.instances if each.guid == guid))


def seen(world: World, guid: str) -> Instance:
    return world.admin.instance(guid)


def test_every_method_of_slapos_is_there(user: Rpc) -> None:
    assert len(ANSWERS) == 24
    for method in ANSWERS:
        status, answer = user.send(method, b'{"nothing such": 1}')
        assert status == 400, (method, answer)


def test_an_instance_is_ordered_and_shown(user: Rpc, node: Node, url: str) -> None:
    got = ordered(user, url, parameters={"port": "80"}, sla_parameters={"computer_guid": node.guid})
    assert (got["title"], got["root_instance_title"], got["state"]) == ("service", "service", "started")
    assert (got["computer_guid"], got["compute_partition_id"]) == (node.guid, "slappart0")
    assert got["parameters"] == {"port": "80"}
    assert got["sla_parameters"] == {"computer_guid": node.guid}
    assert got["connection_parameters"] == {}
    assert got["shared"] is False
    assert got["ip_list"] == [["slappart0", "127.1.0.0"]]
    assert got["access_status_message"] == "#nodata Instance is waiting"
    assert ordered(user, url, parameters={"port": "80"}, sla_parameters={"computer_guid": node.guid}) == got
    assert user.call("get.v0.software_instance", instance_guid=got["instance_guid"]) == got
    assert user.call("get.v0.instance_tree", title="service") == got
    assert user.call("allDocs.v0.instance_tree_list") == {"result_list": [{"title": "service"}]}


def test_parameters_that_come_as_json_in_a_string_are_stored_plain_and_given_out_as_they_came(
    world: World, user: Rpc, url: str
) -> None:
    got = ordered(user, url, parameters={"_": '{"port": 80}'})
    assert got["parameters"] == {"_": '{"port": 80}'}
    assert seen(world, got["instance_guid"]).parameters == {"port": 80}
    plain = ordered(user, url, "plain", parameters={"port": "80"})
    assert plain["parameters"] == {"port": "80"}


def test_a_supply_is_requested_built_and_removed(world: World, user: Rpc, agent: Rpc, node: Node) -> None:
    release = {"computer_guid": node.guid, "software_release_uri": world.release("other")}
    name = release["software_release_uri"]

    def known() -> Any:
        (supply,) = world.admin.supplies(node.guid, name)
        return supply

    def listed() -> Any:
        found = agent.call("allDocs.v0.compute_node_software_installation_list", computer_guid=node.guid)
        return found["result_list"]

    user.call("post.v0.software_installation", **release)
    assert listed() == [{"software_release_uri": name, "state": "available"}]
    agent.call("put.v0.software_installation_reported_state", **release, reported_state="building")
    assert known().reported is ReportedSupplyState.BUILDING
    agent.call("put.v0.software_installation_error", **release, message="While:\n  Installing.\nError: no gcc\n")
    assert known().reported is ReportedSupplyState.ERROR
    assert known().message.endswith("Error: no gcc")
    assert "Installing" in known().log
    agent.call("put.v0.software_installation_reported_state", **release, reported_state="available")
    assert (known().reported, known().is_current) == (ReportedSupplyState.AVAILABLE, True)
    user.call("post.v0.software_installation", **release, state="destroyed")
    assert listed() == [{"software_release_uri": name, "state": "destroyed"}]
    agent.call("put.v0.software_installation_reported_state", **release, reported_state="destroyed")
    assert listed() == []


def test_a_node_formats_its_computer(world: World, user: Rpc, agent: Rpc, node: Node) -> None:
    addresses = [
        {"ip-address": "10.0.0.1", "netmask": "255.255.255.255", "network-interface": "slaptap0"},
        {"ip-address": "2001:db8::1", "network-interface": "slaptap0"},
        {
            "ip-address": "10.8.0.2",
            "netmask": "255.255.255.0",
            "gateway-ip-address": "10.8.0.1",
            "network-address": "10.8.0.0",
            "network-interface": "route_slaptap0",
        },
    ]
    partitions = [{"partition_id": "slappart7", "ip_list": addresses}, {"partition_id": "slappart8"}]
    agent.call("put.v0.compute_node_format", computer_guid=node.guid, compute_partition_list=partitions)
    first, second = (each.partition for each in world.admin.computer(node.guid).partitions)
    assert (first.name, first.ipv4, first.ipv6) == ("slappart7", ("10.0.0.1",), ("2001:db8::1",))
    assert (first.tap, first.route) == ("slaptap0", ("10.8.0.2", "10.8.0.1", "255.255.255.0", "10.8.0.0"))
    assert (second.name, second.ipv4, second.tap) == ("slappart8", (), "")
    got = ordered(user, world.supplied(node))
    assert got["ip_list"] == [["slaptap0", "10.0.0.1"], ["slaptap0", "2001:db8::1"]]
    assert got["full_ip_list"] == [["route_slaptap0", "10.8.0.2", "10.8.0.1", "255.255.255.0", "10.8.0.0"]]


def test_a_node_starts_what_it_is_told_and_its_word_counts(
    world: World, user: Rpc, agent: Rpc, node: Node, url: str
) -> None:
    guid = ordered(user, url)["instance_guid"]
    (told,) = agent.call("allDocs.v0.compute_node_instance_list", computer_guid=node.guid)["result_list"]
    assert told == {
        "title": "service",
        "instance_guid": guid,
        "state": "started",
        "compute_partition_id": "slappart0",
        "software_release_uri": url,
    }
    where = {"computer_guid": node.guid, "compute_partition_id": "slappart0"}
    assert agent.call("get.v0.compute_partition", **where)["instance_guid"] == guid
    agent.call("put.v0.software_instance_error", instance_guid=guid, message="no disk")
    assert (seen(world, guid).status, seen(world, guid).message) == (Status.ERROR, "no disk")
    agent.call("put.v0.software_instance_reported_state", instance_guid=guid, reported_state="started")
    assert seen(world, guid).status is Status.STARTED
    shown = user.call("get.v0.software_instance", instance_guid=guid)
    assert shown["access_status_message"] == "#access Instance correctly started"
    ordered(user, url, state="destroyed")
    agent.call("put.v0.software_instance_reported_state", instance_guid=guid, reported_state="destroyed")
    agent.call("put.v0.software_instance_reported_state", instance_guid=guid, reported_state="destroyed")
    assert user.call("allDocs.v0.instance_tree_list") == {"result_list": []}
    assert world.admin.computer(node.guid).free_partitions == 3


def test_a_partition_says_that_it_failed_but_not_that_it_is_gone(
    world: World, user: Rpc, agent: Rpc, node: Node, url: str
) -> None:
    guid = ordered(user, url)["instance_guid"]
    inside = partition(world, agent, guid)
    inside.call("put.v0.software_instance_error", instance_guid=guid, message="no disk")
    assert seen(world, guid).message == "no disk"
    ordered(user, url, state="destroyed")
    gone = {"instance_guid": guid, "reported_state": "destroyed"}
    inside.refused("put.v0.software_instance_reported_state", 403, **gone)
    assert world.admin.computer(node.guid).free_partitions == 2
    agent.call("put.v0.software_instance_reported_state", **gone)
    assert world.admin.computer(node.guid).free_partitions == 3


def test_a_report_is_about_what_its_node_was_told_and_not_about_what_came_after(
    world: World, user: Rpc, agent: Rpc, node: Node, url: str
) -> None:
    guid = ordered(user, url)["instance_guid"]
    agent.call("allDocs.v0.compute_node_instance_list", computer_guid=node.guid)
    changed = ordered(user, url, parameters={"port": "81"})
    agent.call("put.v0.software_instance_reported_state", instance_guid=guid, reported_state="started")
    assert seen(world, guid).status is Status.STARTING
    told = agent.call("get.v0.software_instance", instance_guid=guid)
    assert told["processing_timestamp"] == changed["processing_timestamp"]
    agent.call("put.v0.software_instance_reported_state", instance_guid=guid, reported_state="started")
    assert seen(world, guid).status is Status.STARTED


def test_connection_parameters_are_published_and_change_nothing_else(
    world: World, user: Rpc, agent: Rpc, node: Node, url: str
) -> None:
    guid = ordered(user, url)["instance_guid"]
    publish = {"instance_guid": guid, "connection_parameter_dict": {"url": "http://[::1]/"}}
    agent.call("put.v0.software_instance_connection_parameter", **publish)
    assert seen(world, guid).reported is ReportedInstanceState.INSTANTIATING
    agent.call("put.v0.software_instance_reported_state", instance_guid=guid, reported_state="started")
    wrapped = {"_": '{"port": 80}'}
    inside = partition(world, agent, guid)
    inside.call("put.v0.software_instance_connection_parameter", instance_guid=guid, connection_parameter_dict=wrapped)
    assert seen(world, guid).connection == {"port": 80}
    assert seen(world, guid).status is Status.STARTED
    assert user.call("get.v0.software_instance", instance_guid=guid)["connection_parameters"] == wrapped


def test_bangs_and_names(world: World, user: Rpc, agent: Rpc, node: Node, url: str) -> None:
    guid = ordered(user, url)["instance_guid"]

    def timestamp() -> int:
        return int(user.call("get.v0.software_instance", instance_guid=guid)["processing_timestamp"])

    stamps = [timestamp()]
    for rpc in (user, agent):
        rpc.call("put.v0.software_instance_bang", instance_guid=guid, message="again")
        stamps.append(timestamp())
        rpc.call("put.v0.compute_node_bang", computer_guid=node.guid, message="again")
        stamps.append(timestamp())
    assert stamps == sorted(set(stamps))
    user.call("put.v0.software_instance_title", instance_guid=guid, title="renamed")
    assert user.call("allDocs.v0.instance_tree_list") == {"result_list": [{"title": "renamed"}]}


def test_what_is_said_of_a_computer(world: World, user: Rpc, agent: Rpc, node: Node) -> None:
    agent.call("allDocs.v0.compute_node_instance_list", computer_guid=node.guid)

    def status() -> str:
        return str(user.call("get.v0.compute_node_status", computer_guid=node.guid)["text"])

    until(lambda: status().startswith("#access one contacted the master at "))
    assert user.call("get.v0.hateoas_url") == {"hateoas_url": f"{world.address}/hateoas"}
    agent.call("post.v0.compute_node_usage", computer_guid=node.guid, tioxml=TIOXML)


def test_a_partition_orders_and_sees_its_tree(world: World, user: Rpc, agent: Rpc, node: Node, url: str) -> None:
    root = ordered(user, url)["instance_guid"]
    inside = partition(world, agent, root)
    child = ordered(inside, url, "child")
    assert child["root_instance_title"] == "service"
    assert child["title"] == "child"
    assert inside.call("get.v0.software_instance", instance_guid=child["instance_guid"]) == child
    for rpc in (inside, agent):
        pair = rpc.call("get.v0.software_instance_certificate", instance_guid=root)
        assert pair["key"].startswith("-----BEGIN") and "BEGIN CERTIFICATE" in pair["certificate"]
    assert user.call("allDocs.v0.instance_tree_list")["result_list"] == [{"title": "service"}]


def test_a_shared_instance_is_served_and_published_for(
    world: World, user: Rpc, agent: Rpc, node: Node, url: str
) -> None:
    host = ordered(user, url, "host")["instance_guid"]
    got = ordered(user, url, "shared", shared=True, parameters={"_": '{"name": ["a"]}'})
    assert got["shared"] is True
    assert (got["computer_guid"], got["compute_partition_id"], got["ip_list"]) == (node.guid, "slappart0", [])
    (served,) = agent.call("allDocs.v0.instance_node_instance_list", instance_guid=host)["result_list"]
    assert served == {
        "title": "shared",
        "instance_guid": got["instance_guid"],
        "software_release_uri": url,
        "software_type": "default",
        "state": "started",
        "parameters": {"_": '{"name": ["a"]}'},
        "compute_partition_id": "slappart0",
    }
    publish = {"instance_guid": got["instance_guid"], "connection_parameter_dict": {"url": "x"}}
    partition(world, agent, host).call("put.v0.software_instance_connection_parameter", **publish)
    assert user.call("get.v0.instance_tree", title="shared")["connection_parameters"] == {"url": "x"}
    agent.call("put.v0.software_instance_reported_state", instance_guid=host, reported_state="started")
    assert seen(world, got["instance_guid"]).status is Status.STARTED


def test_who_serves_a_shared_instance_is_not_let_into_its_tree(
    world: World, user: Rpc, agent: Rpc, node: Node, url: str
) -> None:
    host = ordered(user, url, "host")["instance_guid"]
    got = ordered(user, url, "shared", shared=True)["instance_guid"]
    for rpc in (partition(world, agent, host), agent, user):
        assert "is a shared instance" in rpc.refused("get.v0.software_instance_certificate", 409, instance_guid=got)
