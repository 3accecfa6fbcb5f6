"""The classic protocol: what clients order, and what nodes are told."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slap.master.service.accounts import create_user
from slap.system.marshal import loads
from tests.contract.master.classic import Classic, attributes, marshalled, place
from tests.contract.master.world import World, until

pytestmark = pytest.mark.sql

RECORDED = Path(__file__).parents[2] / "unit" / "system" / "recorded"
GUID = "COMP-1"
CLIENTS = 8


@pytest.fixture
def classic(world: World) -> Classic:
    """A user with a computer of three partitions."""
    client = Classic(world.address, world.token)
    assert client.format(GUID, 3).status == 200
    return client


@pytest.fixture
def url(world: World, classic: Classic) -> str:
    found = world.release()
    classic.does("supplySupply", url=found, computer_id=GUID, state="available")
    return found


def test_a_computer_that_a_user_formats_is_theirs_and_is_told_all_of_itself(classic: Classic, url: str) -> None:
    computer = classic.computer(GUID)
    (release,) = computer["_software_release_list"]
    assert release.attributes == {"_software_release": url, "_computer_guid": GUID, "_requested_state": "available"}
    assert [each["_partition_id"] for each in classic.partitions(GUID)] == ["slappart0", "slappart1", "slappart2"]
    for free in classic.partitions(GUID):
        assert (free["_requested_state"], free["_software_release_document"]) == ("destroyed", None)
    assert classic.told("getComputerInformation", computer_id=GUID) == classic.told(
        "getFullComputerInformation", computer_id=GUID
    )


def test_an_order_is_answered_at_once_and_its_node_is_told(classic: Classic, url: str) -> None:
    answer = classic.order("web", url, {"port": "80"}, filters={"computer_guid": GUID})
    assert answer["slap_computer_id"] == GUID
    assert answer["slap_computer_partition_id"] == "slappart0"
    assert (answer["_requested_state"], answer["_connection_dict"]) == ("started", {})
    assert answer["ip_list"] == [("slaptap0", "10.0.1.1")]
    told = classic.partitions(GUID)[0]
    assert classic.partition(GUID, "slappart0") == told
    assert told["_instance_guid"] == answer["_instance_guid"]
    assert told["_requested_state"] == "started"
    assert told["_software_release_document"].attributes["_software_release"] == url
    assert told["_filter_dict"] == {"computer_guid": GUID}
    parameters = told["_parameter_dict"]
    assert parameters.pop("timestamp").isdecimal()
    assert parameters == {
        "port": "80",
        "ip_list": [("slaptap0", "10.0.1.1")],
        "full_ip_list": [],
        "slap_software_type": "default",
        "instance_title": "web",
        "root_instance_title": "web",
        "slap_computer_id": GUID,
        "slap_computer_partition_id": "slappart0",
        "slap_software_release_url": url,
        "slave_instance_list": [],
    }


def test_all_that_slapproxy_says_is_said(classic: Classic, url: str) -> None:
    classic.order("one", url, {"port": "80", "text": "words"})
    recorded = loads((RECORDED / "computer.xml").read_bytes()).attributes["_computer_partition_list"]
    told = classic.partitions(GUID)
    # Its own guid for a partition that is free, and a misspelt name, are not missed by anybody.
    for theirs, ours in ((recorded[0], told[0]), (recorded[2], told[2])):
        assert theirs.attributes.keys() - ours.keys() <= {"_instance_guid"}
    theirs = recorded[0].attributes["_parameter_dict"].keys()
    assert theirs - told[0]["_parameter_dict"].keys() <= {"full_address_list", "text"}
    answer = attributes(loads((RECORDED / "instance.xml").read_bytes()), "SoftwareInstance")
    assert answer.keys() - classic.order("one", url).keys() <= {"connection_xml"}


def test_the_same_order_again_is_the_same_and_another_one_changes_it(classic: Classic, url: str) -> None:
    first = classic.order("web", url, {"port": "80"})
    before = classic.partition(GUID, "slappart0")["_parameter_dict"]["timestamp"]
    assert classic.order("web", url, {"port": "80"}) == first
    assert classic.partition(GUID, "slappart0")["_parameter_dict"]["timestamp"] == before
    assert classic.order("web", url, {"port": "81"})["_instance_guid"] == first["_instance_guid"]
    after = classic.partition(GUID, "slappart0")["_parameter_dict"]
    assert after["port"] == "81"
    assert after["timestamp"] != before


def test_what_cannot_be_ordered_says_why(classic: Classic, url: str) -> None:
    for number in range(3):
        classic.order(f"one-{number}", url)
    full = classic.ask("more", url)
    assert (full.status, b"has no free partition" in full.body) == (404, True)
    unknown = classic.ask("more", url.replace("release/", "relaese/"))
    assert (unknown.status, b"Did you mean" in unknown.body) == (404, True)
    filtered = classic.ask("more", url, filters={"region": "mars"})
    assert (filtered.status, b"has no label region" in filtered.body) == (404, True)
    assert classic.ask("more", url, state="runing").status == 400
    assert classic.ask("", url).status == 400
    assert classic.get("requestComputerPartition").status == 405


def test_the_client_of_slapos_finds_the_reason_where_it_is_sent(classic: Classic, url: str) -> None:
    headers = {"User-Agent": "slapos.core/1.26.1", "Content-Type": "application/x-www-form-urlencoded"}
    form = f"partition_reference=web&software_release={url}&state={marshalled('runing')}".encode()
    sent = classic.send("POST", "requestComputerPartition", form, headers)
    assert sent.status == 303
    told = classic.get("requestComputerPartition", refused="There is no state 'runing'.")
    assert (told.status, told.body) == (503, b"There is no state 'runing'.")


def test_a_release_or_a_computer_that_is_not_there_is_not_supplied(world: World, classic: Classic, url: str) -> None:
    form = {"computer_id": GUID, "state": "available"}
    broken = classic.post("supplySupply", url=str(world.folder / "none.cfg"), **form)
    assert (broken.status, b"none.cfg cannot be read" in broken.body) == (400, True)
    assert classic.post("supplySupply", url=url, computer_id="COMP-2", state="available").status == 404
    assert classic.post("supplySupply", url=url, computer_id=GUID, state="avaliable").status == 400


def test_parameters_go_out_as_they_came_and_are_kept_plain(world: World, classic: Classic, url: str) -> None:
    wrapped = {"_": json.dumps({"a": "b"})}
    assert classic.order("wrapped", url, wrapped)["_parameter_dict"] == wrapped
    assert classic.order("flat", url, {"a": "b"})["_parameter_dict"] == {"a": "b"}
    assert classic.order("odd", url, {"a": 1})["_parameter_dict"] == {"a": "1"}
    told = [each["_parameter_dict"] for each in classic.partitions(GUID)]
    assert [each.get("_") or each.get("a") for each in told] == [wrapped["_"], "b", "1"]
    assert {each.reference: each.parameters for each in world.admin.instances()} == {
        "wrapped": {"a": "b"},
        "flat": {"a": "b"},
        "odd": {"a": 1},
    }


def release_with(world: World, software: dict[str, Any], schema: dict[str, Any]) -> str:
    url = world.release("declared", schema)
    types = {"default": {"title": "Default", "request": "input.json", **software}}
    Path(f"{url}.json").write_text(json.dumps({"name": "declared", "software-type": types}))
    return url


def test_a_release_that_declares_json_gets_json_and_its_schema_sees_the_object(world: World, classic: Classic) -> None:
    schema = {"type": "object", "properties": {"port": {"type": "integer"}}, "additionalProperties": False}
    url = release_with(world, {"serialisation": "json-in-xml"}, schema)
    classic.does("supplySupply", url=url, computer_id=GUID, state="available")
    classic.order("wrapped", url, {"_": '{"port": 80}'}, software_type="RootSoftwareInstance")
    classic.order("flat", url, {})
    told = [each["_parameter_dict"] for each in classic.partitions(GUID)[:2]]
    assert [each["_"] for each in told] == ['{"port": 80}', "{}"]
    # What was asked is what is told, though the release calls it otherwise.
    assert [each["slap_software_type"] for each in told] == ["RootSoftwareInstance", "default"]
    refused = classic.ask("wrong", url, {"_": '{"port": "eighty"}'})
    assert (refused.status, b'$.port: "eighty" is not of type "integer"' in refused.body) == (400, True)


def test_a_partition_requests_others_and_sees_its_own_tree(world: World, classic: Classic, url: str) -> None:
    classic.order("parent", url)
    classic.order("child", url, {"a": "b"}, **place(GUID, "slappart0"))
    classic.order("stranger", url)
    told = classic.partitions(GUID)
    assert [each["_parameter_dict"]["root_instance_title"] for each in told] == ["parent", "parent", "stranger"]
    assert classic.told("getHostingSubscriptionIpList", **place(GUID, "slappart0")) == [
        ("slaptap0", "10.0.1.1"),
        ("slaptap1", "10.0.1.2"),
    ]
    token = world.speaking(world.token.removeprefix("Bearer "))
    node = token.new_computer_token(GUID).token
    inside = next(each for each in world.speaking(node).desired_state(GUID).instances if each.partition == "slappart0")
    partition = Classic(world.address, f"Bearer {inside.token}")
    assert partition.partition(GUID, "slappart1")["_parameter_dict"]["instance_title"] == "child"
    where = {"computer_reference": GUID}
    assert partition.get("registerComputerPartition", **where, computer_partition_reference="slappart2").status == 404
    assert partition.get("getFullComputerInformation", computer_id=GUID).status == 403
    assert partition.ask("other", url, **place(GUID, "slappart2")).status == 403


def test_who_no_longer_wants_what_never_was_is_content(classic: Classic, url: str) -> None:
    classic.order("parent", url)
    gone = classic.order("child", url, state="destroyed", **place(GUID, "slappart0"))
    assert (gone["_requested_state"], gone["slap_computer_partition_id"]) == ("destroyed", "")
    assert classic.ask("misspelt", url, state="destroyed").status == 404


def test_nobody_sees_the_computers_of_others(world: World, classic: Classic, url: str) -> None:
    classic.order("web", url)
    other = Classic(world.address, f"Bearer {create_user(world.database, 'other')}")
    assert other.get("getFullComputerInformation", computer_id=GUID).status == 404
    where = {"computer_reference": GUID, "computer_partition_reference": "slappart0"}
    assert other.get("registerComputerPartition", **where).status == 404
    assert other.post("supplySupply", url=url, computer_id=GUID, state="destroyed").status == 404
    assert other.post("startedComputerPartition", **place(GUID, "slappart0")).status == 404
    assert other.ask("child", url, **place(GUID, "slappart0")).status == 404
    assert other.format(GUID, 1).status == 409
    nobody = Classic(world.address, "")
    assert nobody.get("getFullComputerInformation", computer_id=GUID).status == 401


def test_what_else_clients_ask_for(world: World, classic: Classic, url: str) -> None:
    assert classic.get("getHateoasUrl").body.decode() == f"{world.address}/hateoas"
    assert classic.told("getComputerStatus", computer_id=GUID)["text"].startswith("#nodata")
    classic.computer(GUID)
    until(lambda: classic.told("getComputerStatus", computer_id=GUID)["text"].startswith("#access"))
    product = "getSoftwareReleaseListFromSoftwareProduct"
    assert classic.told(product, software_product_reference="release") == [url]
    assert classic.told(product, software_release_url=url) == [url]
    assert classic.told(product, software_product_reference="none") == []
    reply = classic.post("requestComputer", computer_title="two")
    made = attributes(loads(reply.body), "Computer")["_computer_id"]
    again = classic.post("requestComputer", computer_title="two")
    assert attributes(loads(again.body), "Computer")["_computer_id"] == made
    classic.order("web", url)
    pair = classic.told("getComputerPartitionCertificate", **place(GUID, "slappart0"))
    assert pair["certificate"].startswith("-----BEGIN CERTIFICATE")
    assert "PRIVATE KEY" in pair["key"]


def test_eight_clients_get_three_hundred_different_partitions(world: World, classic: Classic, url: str) -> None:
    assert classic.format(GUID, 300).status == 200

    def client(number: int) -> list[str]:
        mine = Classic(world.address, world.token)
        answers = [mine.order(f"web-{index}", url) for index in range(number, 300, CLIENTS)]
        return [each["slap_computer_partition_id"] for each in answers]

    with ThreadPoolExecutor(CLIENTS) as pool:
        got = [name for names in pool.map(client, range(CLIENTS)) for name in names]
    assert len(set(got)) == len(got) == 300
    told = classic.partitions(GUID)
    assert len({each["_instance_guid"] for each in told}) == 300
    assert {each["_parameter_dict"]["instance_title"] for each in told} == {f"web-{index}" for index in range(300)}


def test_the_name_of_ones_own_computer_opens_nobody_elses(world: World, classic: Classic, url: str) -> None:
    """A user may call a computer as another one's guid is."""
    classic.order("web", url)
    world.computer(GUID, owner=world.user("eve"))
    eve = Classic(world.address, f"Bearer {create_user(world.database, 'eve')}")
    inside = place(GUID, "slappart0")
    assert eve.get("getComputerPartitionCertificate", **inside).status == 404
    assert eve.post("stoppedComputerPartition", **inside).status in (404, 303)
    assert eve.ask("child", url, **inside).status == 404
    assert classic.get("getComputerPartitionCertificate", **inside).status == 200
