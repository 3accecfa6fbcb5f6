"""HATEOAS on each database, asked for as the clients of SlapOS do: the root first, then what it links to."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from slap.master.service.accounts import create_user
from slap.model.node import InstanceReport
from slap.model.state import ReportedInstanceState
from slap.system.transport import HttpTransport
from tests.contract.master.world import Node, World, order

TREES = 'portal_type:"Instance Tree" AND validation_state:validated'
COMPUTERS = 'portal_type:"Compute Node" AND validation_state:validated'
INSTANCES = 'portal_type:("Software Instance", "Slave Instance") AND validation_state:validated'
SUPPLIES = 'portal_type:"Software Installation" AND validation_state:validated'


class Browser:
    """Follows links as clients do."""

    def __init__(self, world: World, token: str, start: str = "/hateoas") -> None:
        self._headers = {"Authorization": f"Bearer {token}"}
        self._transport = HttpTransport()
        self.start = world.address + start
        self.links = json.loads(self.get(self.start))["_links"]

    def get(self, url: str, status: int = 200, verb: str = "GET") -> str:
        reply = self._transport.send(verb, url, self._headers, None, 30)
        assert reply.status == status, reply.body
        return reply.body.decode()

    def search(self, query: str, *columns: str) -> list[dict[str, Any]]:
        filled = urlencode({"query": query, "select_list": columns}, doseq=True)
        url = self.links["raw_search"]["href"].replace("{&query,select_list*}", f"&{filled}")
        return list(json.loads(self.get(url))["_embedded"]["contents"])

    def document(self, relative_url: str) -> dict[str, Any]:
        """The fields of a document, as clients take them out of its form."""
        filled = urlencode({"relative_url": relative_url, "view": "slaposjs_view"})
        found = json.loads(self.get(self.links["traverse"]["href"].replace("{&relative_url,view}", f"&{filled}")))
        assert found["_links"]["type"]["name"]
        return {name.removeprefix("my_"): each["default"] for name, each in found["_embedded"]["_view"].items()}


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world, world.token.removeprefix("Bearer "))


@pytest.fixture
def node(world: World) -> Node:
    return world.computer()


def test_services_are_listed_and_shown(world: World, browser: Browser, node: Node) -> None:
    url = world.supplied(node)
    parameters = {"port": 80, "name": "é<&>"}
    instance = world.admin.request(order(url, 'my "odd" 100% AND', parameters=parameters))
    started = ReportedInstanceState.STARTED
    node.report(InstanceReport(guid=instance.guid, state=started, connection={"url": "http://[::1]/"}))
    (row,) = browser.search(TREES, "title", "url_string")
    assert row == {"title": 'my "odd" 100% AND', "url_string": url}
    (row,) = browser.search(f'{TREES} AND title:="my "odd" 100% AND"', "title", "relative_url")
    shown = browser.document(row["relative_url"])
    assert (shown["url_string"], shown["source_reference"], shown["slap_state"]) == (url, "default", "started")
    assert shown["connection_parameter_list"] == [{"connection_key": "url", "connection_value": "http://[::1]/"}]
    assert '<parameter id="_">{"name": ' in shown["text_content"]
    assert [each["text"] for each in shown["news"]["instance"]] == ["#access Instance correctly started"]
    assert browser.search(f'{TREES} AND title:="my"') == []
    assert browser.search(f'{TREES} AND title:=""') == []


def test_the_instances_of_a_tree_are_found_by_the_name_of_its_root(world: World, browser: Browser, node: Node) -> None:
    url = world.supplied(node)
    root = world.admin.request(order(url, "root"))
    child = world.partition(node, root).request(order(url, "child"))
    rows = browser.search(f'{INSTANCES} AND default_specialise_title:="root"')
    assert [each["title"] for each in rows] == ["root", "child"]
    assert rows[1]["SoftwareInstance_getNewsDict"]["text"] == "#nodata Instance is waiting"
    assert browser.document(rows[1]["relative_url"])["reference"] == child.guid
    assert browser.search(f'{INSTANCES} AND default_specialise_title:="nobody"') == []


def test_computers_are_listed_and_shown(world: World, browser: Browser, node: Node) -> None:
    other = world.computer("two")
    assert [each["reference"] for each in browser.search(COMPUTERS, "reference")] == [node.guid, other.guid]
    world.admin.request(order(world.supplied(node)))
    (row,) = browser.search(f'{COMPUTERS} AND reference:="{node.guid}"')
    shown = browser.document(row["relative_url"])
    assert shown["news"]["partition"]["slappart0"]["text"] == "#nodata Instance is waiting"
    assert (shown["reference"], shown["title"]) == (node.guid, "one")
    assert browser.search(f'{COMPUTERS} AND title:="two"', "reference") == [{"reference": other.guid}]
    assert browser.search(f'{COMPUTERS} AND reference:="one"') == []
    assert browser.search(f'{COMPUTERS} AND title:="two" AND reference:="{node.guid}"') == []
    assert browser.search(f'{COMPUTERS} AND reference:="COMP-9"') == []


def test_supplies_are_listed(world: World, browser: Browser, node: Node) -> None:
    url = world.supplied(node)
    (row,) = browser.search(f'{SUPPLIES} AND default_aggregate_reference:="{node.guid}"')
    assert (row["url_string"], row["SoftwareInstallation_getNewsDict"]["text"][:7]) == (url, "#nodata")
    assert browser.search(f'{SUPPLIES} AND default_aggregate_reference:="COMP-9"') == []


@pytest.mark.parametrize("start", ["/hateoas", "/hateoas/"])
def test_a_token_registers_one_computer(world: World, start: str) -> None:
    browser = Browser(world, world.token.removeprefix("Bearer "), start)
    token_url = browser.links["self"]["href"] + "/computer_module/Base_getComputerToken"
    assert token_url.startswith(browser.start)
    first, second = (json.loads(browser.get(token_url))["access_token"] for _ in range(2))
    assert first and second and first != second


def test_everybody_learns_who_they_are(world: World, browser: Browser, node: Node) -> None:
    instance = world.admin.request(order(world.supplied(node)))
    token = world.admin.new_computer_token(node.guid).token
    computer = Browser(world, token)
    inside = Browser(world, replace(node, api=world.speaking(token)).token_of(instance))
    for who, name in ((browser, "admin"), (computer, node.guid), (inside, instance.guid)):
        me = who.links["me"]["href"].removeprefix("urn:jio:get:")
        assert who.document(me)["reference"] == name


def test_strangers_find_and_see_nothing(world: World, browser: Browser, node: Node) -> None:
    url = world.supplied(node)
    world.admin.request(order(url, "mine"))
    stranger = Browser(world, create_user(world.database, "stranger"))
    for query in (TREES, f'{TREES} AND title:="mine"', COMPUTERS, f'{COMPUTERS} AND reference:="{node.guid}"'):
        assert stranger.search(query) == []
        (row,) = browser.search(query)
        stranger.get(f"{stranger.start}/{row['relative_url']}", 404)
    assert stranger.search(f'{INSTANCES} AND default_specialise_title:="mine"') == []
    assert stranger.search(f'{SUPPLIES} AND default_aggregate_reference:="{node.guid}"') == []
    stranger.get(f"{stranger.start}/person_module/admin", 404)


@pytest.mark.parametrize(
    ("rest", "status", "words"),
    [
        ("?mode=search", 400, "does not know this query"),
        ("?mode=search&query=portal_type:*", 400, "does not know this query"),
        (f"?{urlencode({'mode': 'search', 'query': INSTANCES})}", 400, "which tree"),
        ("?mode=delete", 400, "does not know the mode 'delete'"),
        ("?mode=traverse", 404, "There is no document"),
        ("?mode=traverse&relative_url=../../etc/passwd", 404, "There is no document ../../etc/passwd"),
        ("/computer_module", 404, "There is no document computer_module"),
        ("/instance_tree_module/INST-1", 404, "There is no instance INST-1"),
        ("/compute_node_module/COMP-1", 404, "There is no computer COMP-1"),
        ("x", 404, "There is no document x"),
    ],
)
def test_what_is_not_understood_is_said_in_plain_text(browser: Browser, rest: str, status: int, words: str) -> None:
    assert words in browser.get(browser.start + rest, status)


def test_names_that_no_database_has_do_no_harm(browser: Browser) -> None:
    asked = urlencode({"mode": "search", "query": f'{TREES} AND title:="a\x00b"'})
    reply = browser.get(f"{browser.start}?{asked}", 400)
    assert "U+0000" in reply


def test_nothing_is_changed_over_hateoas(browser: Browser) -> None:
    for verb in ("POST", "PUT", "DELETE"):
        browser.get(browser.start, 405, verb)


def test_nobody_gets_in_without_a_token(world: World) -> None:
    reply = HttpTransport().send("GET", f"{world.address}/hateoas", {}, None, 10)
    assert reply.status == 401
    assert b"does not know" in reply.body
