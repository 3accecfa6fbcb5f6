"""The documents of HATEOAS, as a client of SlapOS takes them apart."""

from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from slap.master.hateoas.document import computer_document, instance_row, parameters_xml, tree_document
from slap.master.slapos.status_text import computer_news, instance_news
from slap.model.computer import Computer, ComputerConfiguration
from slap.model.instance import Instance, InstanceTree, Sla
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STARTED, ERROR = ReportedInstanceState.STARTED, ReportedInstanceState.ERROR


def instance(**more: Any) -> Instance:
    known = {
        "guid": "INST-1",
        "reference": "service",
        "requester": "user:admin",
        "root": "INST-1",
        "software_release": "/x/software.cfg",
        "software_type": "default",
        "parameters": {},
        "sla": Sla(),
        "requested": InstanceState.STARTED,
        "reported": ReportedInstanceState.NONE,
        "computer": "COMP-1",
        "partition": "slappart0",
        "revision": 1,
        "created_at": NOON,
        "changed_at": NOON,
    }
    return Instance.model_validate(known | more)


def computer(seen_at: datetime | None) -> Computer:
    empty = ComputerConfiguration(partitions=())
    return Computer(guid="COMP-1", title="one", configuration=empty, free_partitions=0, seen_at=seen_at)


def fields_of(document: dict[str, Any]) -> dict[str, Any]:
    """What a client keeps: the fields that it has a type for."""
    view = document["_embedded"]["_view"]
    assert view["form_id"]["key"] and view["form_id"]["default"]
    known = ("StringField", "EmailField", "IntegerField", "FloatField", "TextAreaField")
    return {name.removeprefix("my_"): field["default"] for name, field in view.items() if field["type"] in known}


def test_a_tree_has_all_that_service_info_prints() -> None:
    root = instance(parameters={"port": "80"}, connection={"url": "http://[::1]/"}, software_type="cluster")
    document = tree_document(InstanceTree(root=root, instances=(root,), revision=1))
    fields = fields_of(document)
    assert document["_links"]["type"]["name"] == "Instance Tree"
    assert fields["slap_state"] == "started"
    assert fields["source_reference"] == "cluster"
    assert fields["root_slave"] == 0
    assert fields["url_string"] == "/x/software.cfg"
    assert fields["connection_parameter_list"] == [{"connection_key": "url", "connection_value": "http://[::1]/"}]
    assert [each.attrib for each in ElementTree.fromstring(fields["text_content"].encode())] == [{"id": "port"}]


def test_the_news_of_a_tree_are_those_of_all_its_instances() -> None:
    root, child = instance(reported=STARTED), instance(guid="INST-2", reported=ERROR, message="no disk")
    fields = fields_of(tree_document(InstanceTree(root=root, instances=(root, child), revision=1)))
    texts = [each["text"] for each in fields["news"]["instance"]]
    assert texts == ["#access Instance correctly started", "#error no disk"]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "#nodata Instance is waiting"),
        ({"reported": STARTED}, "#access Instance correctly started"),
        ({"reported": STARTED, "is_current": False}, "#nodata Instance is starting"),
        ({"reported": ERROR, "message": "no disk"}, "#error no disk"),
        ({"software": ReportedSupplyState.ERROR, "software_message": "no gcc"}, "#error no gcc"),
        ({"requested": "stopped", "reported": STARTED}, "#nodata Instance is stopping"),
    ],
)
def test_only_what_a_node_saw_is_good_news(more: dict[str, Any], text: str) -> None:
    assert instance_news(instance(**more))["text"] == text


def test_a_computer_that_was_not_heard_of_for_long_is_bad_news() -> None:
    assert computer_news(computer(None), NOON)["text"] == "#nodata one has never contacted the master"
    assert computer_news(computer(NOON), NOON + timedelta(minutes=1))["text"].startswith("#access one contacted")
    assert computer_news(computer(NOON), NOON + timedelta(minutes=9))["text"].startswith("#error one contacted")


def test_a_computer_has_what_computer_info_prints() -> None:
    fields = fields_of(computer_document(computer(None), {"slappart0": instance_news(instance(reported=STARTED))}))
    assert (fields["reference"], fields["title"]) == ("COMP-1", "one")
    assert fields["news"]["computer"]["text"].startswith("#nodata")
    assert fields["news"]["partition"]["slappart0"]["text"].startswith("#access")


def test_shared_instances_have_a_type_of_their_own() -> None:
    assert instance_row(instance(shared=True))["portal_type"] == "Slave Instance"
    assert instance_row(instance())["portal_type"] == "Software Instance"


def test_any_parameters_survive_the_journey_through_xml() -> None:
    odd = {'a"b': "<&>\"' \r\n\t", "_": '{"é": "中文 🐍"}', "<k>&\n": "]]>", "empty": ""}
    parsed = {each.get("id"): each.text or "" for each in ElementTree.fromstring(parameters_xml(odd).encode())}
    assert parsed == odd


def test_what_xml_cannot_say_is_replaced() -> None:
    (parsed,) = ElementTree.fromstring(parameters_xml({"a\x00": "b\x1b[0m\ud800"}).encode())
    assert (parsed.get("id"), parsed.text) == ("a\ufffd", "b\ufffd[0m\ufffd")
