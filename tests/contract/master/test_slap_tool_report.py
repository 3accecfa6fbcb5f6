"""The classic protocol: what nodes and partitions report, and who learns of it."""

import json
from typing import Any

import pytest

from slap.model.instance import Instance
from slap.model.state import ReportedSupplyState, Status
from tests.contract.master.classic import Classic, marshalled, place
from tests.contract.master.world import World

GUID = "COMP-1"
FIRST = place(GUID, "slappart0")


@pytest.fixture
def node(world: World) -> Classic:
    """A node with a token of its own; its computer has three partitions."""
    user = Classic(world.address, world.token)
    assert user.format(GUID, 3).status == 200
    return Classic(world.address, f"Bearer {world.admin.new_computer_token(GUID).token}")


@pytest.fixture
def user(world: World, node: Classic) -> Classic:
    return Classic(world.address, world.token)


@pytest.fixture
def url(world: World, user: Classic) -> str:
    found = world.release()
    user.does("supplySupply", url=found, computer_id=GUID, state="available")
    return found


def known(world: World, reference: str) -> Instance:
    return world.admin.instances(reference)[0]


def test_what_a_node_builds_is_known(world: World, node: Classic, url: str) -> None:
    node.computer(GUID)
    for path, state in (
        ("buildingSoftwareRelease", ReportedSupplyState.BUILDING),
        ("availableSoftwareRelease", ReportedSupplyState.AVAILABLE),
    ):
        node.does(path, url=url, computer_id=GUID)
        assert world.admin.supplies(GUID)[0].reported is state
    log = "Traceback (most recent call last):\n  ...\nBuildoutError: gcc is not there\n"
    node.does("softwareReleaseError", url=url, computer_id=GUID, error_log="x" * 100_000 + "\n" + log)
    failed = world.admin.supplies(GUID)[0]
    assert failed.reported is ReportedSupplyState.ERROR
    assert "gcc is not there" in failed.message
    assert 0 < len(failed.log) <= 64 * 1024


def test_a_release_that_was_removed_is_not_told_of_any_more(user: Classic, node: Classic, url: str) -> None:
    user.does("supplySupply", url=url, computer_id=GUID, state="destroyed")
    (release,) = node.computer(GUID)["_software_release_list"]
    assert release.attributes["_requested_state"] == "destroyed"
    node.does("destroyedSoftwareRelease", url=url, computer_id=GUID)
    assert node.computer(GUID)["_software_release_list"] == []


def test_a_report_is_about_what_the_node_was_told_last(world: World, user: Classic, node: Classic, url: str) -> None:
    user.order("web", url, {"port": "80"})
    node.computer(GUID)
    user.order("web", url, {"port": "81"})
    node.does("startedComputerPartition", **FIRST)
    assert known(world, "web").status is Status.STARTING  # with the former port
    node.computer(GUID)
    node.does("startedComputerPartition", **FIRST)
    assert known(world, "web").status is Status.STARTED


def test_the_failure_of_an_instance_reaches_its_requester(world: World, user: Classic, node: Classic, url: str) -> None:
    user.order("web", url)
    node.computer(GUID)
    node.does("softwareInstanceError", **FIRST, error_log="Promise check-web failed:\nno answer\n")
    failed = known(world, "web")
    assert (failed.status, failed.message) == (Status.ERROR, "Promise check-web failed:\nno answer")
    assert user.order("web", url)["_access_status"] == "#error Promise check-web failed:\nno answer"
    assert node.partitions(GUID)[0]["_access_status"].startswith("#error ")
    node.does("startedComputerPartition", **FIRST)
    assert known(world, "web").message == ""
    assert node.partitions(GUID)[0]["_access_status"] == "#access Instance correctly started"


def test_a_destroyed_instance_frees_its_partition(world: World, user: Classic, node: Classic, url: str) -> None:
    user.order("web", url)
    # A node that lost what it has is told again.
    node.does("destroyedComputerPartition", **FIRST)
    assert node.partitions(GUID)[0]["_requested_state"] == "started"
    assert user.order("web", url, state="destroyed")["_requested_state"] == "destroyed"
    told = node.partitions(GUID)[0]
    assert told["_requested_state"] == "destroyed"
    assert told["_software_release_document"].attributes["_software_release"] == url
    node.does("stoppedComputerPartition", **FIRST)
    assert known(world, "web").status is Status.DESTROYING
    node.does("destroyedComputerPartition", **FIRST)
    assert node.partitions(GUID)[0]["_software_release_document"] is None
    assert world.admin.instances("web") == []
    assert node.post("destroyedComputerPartition", **FIRST).status == 404


def test_stopped_is_stopped(world: World, user: Classic, node: Classic, url: str) -> None:
    user.order("web", url, state="stopped")
    assert node.partitions(GUID)[0]["_requested_state"] == "stopped"
    node.does("stoppedComputerPartition", **FIRST)
    assert known(world, "web").status is Status.STOPPED


CONNECTION = [
    ({"url": "http://a/?b=1&c=2"}, {"url": "http://a/?b=1&c=2"}),
    ({"_": json.dumps({"port": 80, "url": "http://a"})}, {"url": "http://a", "port": 80}),
    ({"_": json.dumps({"url": "http://a"})}, {"url": "http://a"}),
    ({"port": 80}, {"port": "80"}),
    ({}, {}),
]


@pytest.mark.parametrize("published, plain", CONNECTION)
def test_connection_parameters_reach_the_requester_as_they_were_published(
    world: World, user: Classic, node: Classic, url: str, published: dict[str, Any], plain: dict[str, Any]
) -> None:
    user.order("web", url)
    node.computer(GUID)
    node.does("startedComputerPartition", **FIRST)
    connection = marshalled(published)
    node.does("setComputerPartitionConnectionXml", **FIRST, connection_xml=connection, slave_reference="None")
    expected = {name: str(value) for name, value in published.items()}
    assert user.order("web", url)["_connection_dict"] == expected
    assert node.partitions(GUID)[0]["_connection_dict"] == expected
    instance = known(world, "web")
    assert (instance.connection, instance.status) == (plain, Status.STARTED)


def test_what_a_child_publishes_has_its_parent_processed_again(user: Classic, node: Classic, url: str) -> None:
    user.order("parent", url)
    user.order("child", url, **FIRST)
    child = place(GUID, "slappart1")
    moments = [node.partitions(GUID)[0]["_parameter_dict"]["timestamp"]]
    for _ in range(2):
        node.does("setComputerPartitionConnectionXml", **child, connection_xml=marshalled({"a": "b"}))
        moments.append(node.partitions(GUID)[0]["_parameter_dict"]["timestamp"])
    # Once, for the second time is no news.
    assert moments[0] != moments[1] == moments[2]
    assert user.order("child", url, **FIRST)["_connection_dict"] == {"a": "b"}


def test_shared_instances_are_told_to_the_one_that_serves_them(
    world: World, user: Classic, node: Classic, url: str
) -> None:
    assert user.ask("site", url, {"domain": "example.net"}, shared=True).status in (404, 408)
    user.order("frontend", url)
    site = user.order("site", url, {"domain": "example.net"}, shared=True)
    assert site["slap_computer_partition_id"] == "slappart0"
    (served,) = node.partitions(GUID)[0]["_parameter_dict"]["slave_instance_list"]
    assert served == {
        "domain": "example.net",
        "slave_title": "site",
        "slave_reference": site["_instance_guid"],
        "slap_software_type": "default",
    }
    assert node.partition(GUID, "slappart0")["_parameter_dict"]["slave_instance_list"] == [served]
    publish = {"connection_xml": marshalled({"_": '{"url": "https://example.net"}'})}
    reference = served["slave_reference"]
    node.does("setComputerPartitionConnectionXml", **FIRST, **publish, slave_reference=reference)
    answer = user.order("site", url, {"domain": "example.net"}, shared=True)
    assert answer["_connection_dict"] == {"_": '{"url": "https://example.net"}'}
    assert known(world, "site").connection == {"url": "https://example.net"}
    # Nobody publishes for what another one serves.
    user.order("stranger", url)
    stranger = place(GUID, "slappart1")
    assert (
        node.post("setComputerPartitionConnectionXml", **stranger, **publish, slave_reference=reference).status == 404
    )
    node.does("softwareInstanceError", **FIRST, error_log="no such domain", slave_reference=reference)
    assert "no such domain" in known(world, "frontend").message
    user.order("site", url, shared=True, state="destroyed")
    assert node.partitions(GUID)[0]["_parameter_dict"]["slave_instance_list"] == []


def test_what_is_not_requested_any_more_is_destroyed(world: World, user: Classic, node: Classic, url: str) -> None:
    user.order("parent", url)
    for name in ("kept", "left"):
        user.order(name, url, **FIRST)
    path = "updateComputerPartitionRelatedInstanceList"
    assert node.post(path, **FIRST, instance_reference_xml=marshalled({"a": "b"})).status == 400
    node.does(path, **FIRST, instance_reference_xml=marshalled(["kept"]))
    states = {each["_parameter_dict"]["instance_title"]: each["_requested_state"] for each in node.partitions(GUID)}
    assert states == {"parent": "started", "kept": "started", "left": "destroyed"}


def test_bangs_have_partitions_processed_again(user: Classic, node: Classic, url: str) -> None:
    for name in ("one", "two"):
        user.order(name, url)

    def moments() -> list[int]:
        return [int(each["_parameter_dict"]["timestamp"]) for each in node.partitions(GUID)[:2]]

    start = moments()
    node.does("softwareInstanceBang", **FIRST, message="again")
    one = moments()
    assert one[0] > start[0]
    assert one[1] == start[1]
    node.does("computerBang", computer_id=GUID, message="all")
    assert min(moments()) > max(one)


def test_an_instance_is_renamed(world: World, user: Classic, node: Classic, url: str) -> None:
    guid = user.order("web", url)["_instance_guid"]
    node.does("softwareInstanceRename", **FIRST, new_name="site")
    assert known(world, "site").guid == guid
    assert node.partitions(GUID)[0]["_parameter_dict"]["instance_title"] == "site"
    assert node.post("softwareInstanceRename", **FIRST).status == 400


def test_usage_that_is_none_is_refused(node: Classic) -> None:
    assert node.post("useComputer", computer_id=GUID, use_string="<!DOCTYPE a>").status == 400
    assert node.post("useComputer", computer_id="COMP-2", use_string="<journal/>").status == 404


def test_formatting_keeps_what_a_node_of_slapos_does_not_know(world: World, node: Classic) -> None:
    known = world.admin.computer(GUID).configuration
    labelled = known.model_copy(update={"labels": {"zone": "paris"}, "capabilities": frozenset({"kvm"})})
    world.admin.configure_computer(GUID, labelled)
    assert node.format(GUID, 4).status == 200
    told = world.admin.computer(GUID).configuration
    assert len(told.partitions) == 4
    assert (told.labels, told.capabilities) == ({"zone": "paris"}, frozenset({"kvm"}))
    assert node.format("COMP-9", 1).status == 404


@pytest.mark.parametrize(
    "path",
    ["startedComputerPartition", "softwareInstanceError", "setComputerPartitionConnectionXml", "softwareInstanceBang"],
)
def test_a_partition_speaks_for_itself_only(world: World, user: Classic, node: Classic, url: str, path: str) -> None:
    for name in ("one", "two"):
        user.order(name, url)
    computer = world.speaking(node.token.removeprefix("Bearer "))
    token = next(each.token for each in computer.desired_state(GUID).instances if each.partition == "slappart0")
    partition = Classic(world.address, f"Bearer {token}")
    form = {"connection_xml": marshalled({"a": "b"}), "error_log": "bad"}
    assert partition.post(path, **FIRST, **form).status == 200
    assert partition.post(path, **place(GUID, "slappart1"), **form).status == 403
    assert partition.post(path, **place(GUID, "slappart2"), **form).status == 403


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a" * 300, b"&".join(b"a%d=b" % number for number in range(1000))])
def test_forms_that_are_none_are_refused(user: Classic, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = user.send("POST", "startedComputerPartition", body, headers)
    assert (reply.status, b"startedComputerPartition was not given" in reply.body) == (400, True)
