"""A user, or a partition, of ours at a slapproxy: orders, lists and trees; with answers of the real one."""

import json
from pathlib import Path
from typing import Any

import pytest

from slap.client.identity import PartitionIdentity
from slap.client.slapos.hateoas import expand, values_of
from slap.client.slapos.order import infer_reported_state
from slap.model.errors import CannotBePlaced, NotFound, NotOffered, Unreachable
from slap.model.instance import InstanceRequest, Sla
from slap.model.software import SupplyRequest
from slap.model.state import InstanceState, Status
from tests.unit.client.proxy import LISTS, Proxy

ORDERED = {**LISTS, "POST requestComputerPartition": "requested web"}


def an_order(**changes: Any) -> InstanceRequest:
    return InstanceRequest(**({"reference": "web", "software_release": "/r/software.cfg"} | changes))


def test_an_order_says_all_of_it() -> None:
    proxy = Proxy(ORDERED)
    placed = proxy.master().request(an_order(parameters={"port": "80"}, sla=Sla(computer="COMP-1")))
    (sent,) = proxy.sent
    assert (sent.form["partition_reference"], sent.form["software_type"]) == ("web", "default")
    assert [sent.meant(name) for name in ("partition_parameter_xml", "filter_xml", "state", "shared_xml")] == [
        {"port": "80"}, {"computer_guid": "COMP-1"}, "started", False,
    ]  # fmt: skip
    assert (placed.computer, placed.partition, placed.guid) == ("COMP-1", "slappart0", "COMP-1-slappart0")
    assert (placed.status, placed.addresses) == (Status.WAITING, ("10.0.0.2",))


@pytest.mark.parametrize(
    ("declared", "parameters", "sent"),
    [
        ("", {"a": "b"}, {"a": "b"}),
        ("", {"a": 1}, {"_": '{"a": 1}'}),
        ("json-in-xml", {"a": "b"}, {"_": '{"a": "b"}'}),
        ("xml", {"a": 1}, {"a": "1"}),
        ("nonsense", {"a": "b"}, {"a": "b"}),
    ],
)
def test_parameters_go_as_the_release_declares(
    tmp_path: Path, declared: str, parameters: dict[str, Any], sent: dict[str, str]
) -> None:
    (tmp_path / "software.cfg.json").write_text(json.dumps({"software-type": {"default": {"serialisation": declared}}}))
    proxy = Proxy(ORDERED)
    proxy.master().request(an_order(software_release=str(tmp_path / "software.cfg"), parameters=parameters))
    assert proxy.sent[0].meant("partition_parameter_xml") == sent


def test_what_was_published_comes_with_the_answer_and_is_not_taken_for_a_start() -> None:
    answer = Proxy({**ORDERED, "POST requestComputerPartition": "requested web again"}).master().request(an_order())
    assert (answer.connection, answer.status) == ({"url": "http://x/"}, Status.UNKNOWN)


def test_no_place_is_told_in_the_masters_words() -> None:
    with pytest.raises(CannotBePlaced) as caught:
        Proxy({**LISTS, "POST requestComputerPartition": "no place"}).master().request(an_order(reference="none"))
    assert "No free computer partition found for: none" in caught.value.details


def test_a_service_that_is_not_there_is_not_made_to_be_destroyed() -> None:
    proxy = Proxy(ORDERED)
    with pytest.raises(NotFound):
        proxy.master().request(an_order(reference="nope", state=InstanceState.DESTROYED))
    assert proxy.sent == []


def test_a_partition_orders_as_itself_under_names_of_its_own() -> None:
    proxy = Proxy({**LISTS, "POST requestComputerPartition": "requested child"})
    for name, reference in (("", "db"), ("front", "front.db")):
        proxy.master(PartitionIdentity("COMP-1", "slappart0", name)).request(an_order(reference="db"))
        sent = proxy.sent[-1]
        assert sent.form["partition_reference"] == reference
        assert (sent.form["computer_id"], sent.form["computer_partition_id"]) == ("COMP-1", "slappart0")
        assert sent.headers["Authorization"].startswith("X-SlapPartition computer_id=COMP-1, ")


def test_the_answer_of_a_child_is_waited_for() -> None:
    proxy = Proxy({**LISTS, "POST requestComputerPartition": ["requested web", "requested web", "requested web again"]})
    master = proxy.master(PartitionIdentity("COMP-1", "slappart3"))
    child = master.request(an_order())
    assert master.answer(child.guid, wait=5).child.connection == {"url": "http://x/"}
    assert len(proxy.sent) == 3


def test_services_are_listed_with_all_that_an_order_needs() -> None:
    web, db, off, pooled = Proxy(LISTS).master().instances()
    assert (web.parameters, web.connection) == ({"greeting": "Salut <b>", "port": "80"}, {"url": "http://x/"})
    assert (db.parameters, db.serialisation.value, db.connection) == ({"size": 3}, "json-in-xml", {"u": 1})
    assert (off.requested, off.status) == (InstanceState.STOPPED, Status.UNKNOWN)
    assert (pooled.shared, pooled.sla.instance, pooled.partition) == (True, "COMP-1-slappart1", "slappart1")
    assert pooled.connection == {"dsn": "pg://"}


def test_one_service_is_found_by_its_name() -> None:
    master = Proxy(LISTS).master()
    assert [each.guid for each in master.instances("web")] == ["COMP-1-slappart0"]
    assert master.instances("nope") == []


def test_a_list_that_slapproxy_fails_to_give_is_made_from_its_computers() -> None:
    master = Proxy({**LISTS, "GET hateoas/ Instance Tree": "broken list"}).master()
    assert [each.reference for each in master.instances()] == ["web", "db", "pooled", "off"]


def test_a_tree_has_what_was_requested_in_its_name() -> None:
    tree = Proxy(LISTS).master().tree("COMP-1-slappart0")
    assert [(each.reference, each.requester == tree.root.guid) for each in tree.instances] == [
        ("web", False),
        ("child", True),
    ]
    assert [each.status for each in tree.instances] == [Status.UNKNOWN, Status.WAITING]


def test_a_tree_without_news_is_waited_for_and_stays_the_same() -> None:
    proxy = Proxy(LISTS)
    master = proxy.master()
    known, began = master.tree("COMP-1-slappart0"), proxy.clock.monotonic()
    assert master.tree("COMP-1-slappart0", known.revision, wait=20).revision == known.revision
    assert proxy.clock.monotonic() - began == 20


def test_a_release_that_nobody_supplied_is_told() -> None:
    master = Proxy({**ORDERED, "GET getFullComputerInformation": "busy computer"}).master()
    tree = master.tree("COMP-1-slappart0")
    assert tree.instances[1].message == ""
    proxy = Proxy({**LISTS, "GET getFullComputerInformation": "unsupplied computer"})
    assert "slapos supply /r/software.cfg COMP-1" in proxy.master().tree("COMP-1-slappart0").instances[1].message


def test_what_an_order_changed_is_known_to_who_ordered() -> None:
    master = Proxy(ORDERED).master()
    master.instances("web")
    guid = master.request(an_order(parameters={"greeting": "Hi", "port": "80"})).guid
    (change,) = master.history(guid)[0].changes
    assert (change.field, change.before, change.after) == ("parameters.greeting", '"Salut <b>"', '"Hi"')
    with pytest.raises(NotOffered):
        master.history("COMP-1-slappart3")


def test_supplies_are_what_was_asked_and_nothing_more() -> None:
    proxy = Proxy({**LISTS, "POST supplySupply": "supplied"})
    master = proxy.master()
    supply = master.supply(SupplyRequest(url="/r", computer="COMP-1"))
    assert (supply.reported.value, proxy.sent[0].form["state"]) == ("unknown", "available")
    assert {each.url: each.reported.value for each in master.supplies("COMP-1")} == {
        "/r/software.cfg": "unknown",
        "/old/software.cfg": "",
    }


def test_what_cannot_be_asked_is_said_plainly() -> None:
    master = Proxy(LISTS).master()
    for ask in (lambda: master.plan(an_order()), lambda: master.logs("x"), lambda: master.new_computer_token("COMP-1")):
        with pytest.raises(NotOffered, match="This master"):
            ask()


@pytest.mark.parametrize(
    ("requested", "connection", "access", "status"),
    [
        ("started", {}, "", "waiting"),
        ("started", {"url": "x"}, "", "unknown"),
        ("stopped", {}, "", "unknown"),
        ("destroyed", {"url": "x"}, "", "destroying"),
        ("started", {}, "#access Instance correctly started", "started"),
        ("stopped", {}, "#access Instance correctly stopped", "stopped"),
        ("stopped", {}, "#access Instance correctly started", "stopping"),
        ("started", {"url": "x"}, "#error It burns.", "error"),
        ("started", {}, "#nodata", "waiting"),
    ],
)
def test_only_what_was_seen_is_said(requested: str, connection: dict[str, Any], access: str, status: str) -> None:
    from_master = infer_reported_state(InstanceState(requested), connection, access)
    proxy = Proxy(ORDERED).master().request(an_order())
    told = proxy.model_copy(update={"requested": InstanceState(requested), "reported": from_master[0]})
    assert told.status == status


def test_parameters_of_a_document() -> None:
    xml = "<?xml version='1.0'?><instance><parameter id='a'>1</parameter><parameter id='b'/></instance>"
    assert values_of(xml).plain == {"a": "1", "b": ""}
    assert values_of([{"connection_key": "_", "connection_value": '{"u": 1}'}]).plain == {"u": 1}
    assert values_of(None).plain == {}
    for hostile in ("<!DOCTYPE x [<!ENTITY a 'b'>]><instance/>", "<instance>"):
        with pytest.raises(Unreachable):
            values_of(hostile)


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("http://h/?query={query}&l={select_list}", "http://h/?query=a%20%22b%22&l=c"),
        ("http://h/s{?query,select_list*,local_roles*}", "http://h/s?query=a%20%22b%22&select_list=c"),
        ("http://h/s?m=x{&query,limit}", "http://h/s?m=x&query=a%20%22b%22"),
        ("http://h/{unknown}/x", "http://h//x"),
    ],
)
def test_templates_of_masters_are_filled(template: str, url: str) -> None:
    assert expand(template, query='a "b"', select_list="c") == url
