"""What the JSON-RPC methods refuse, always in their own form: {status, type, title}."""

from typing import Any

import pytest

from slap.master.service.accounts import create_user
from tests.contract.master.rpc import ANSWERS, Rpc
from tests.contract.master.world import World

ORDER = {"title": "service", "software_release_uri": "/x/software.cfg", "software_type": "default"}
RELEASE = {"computer_guid": "COMP-1", "software_release_uri": "/x/software.cfg"}
INSTANCE = {"instance_guid": "INST-1"}
COMPUTER = {"computer_guid": "COMP-1"}

# What each method takes, of things that are not there.
ABSENT: dict[str, dict[str, Any]] = {
    "allDocs.v0.compute_node_instance_list": COMPUTER,
    "allDocs.v0.compute_node_software_installation_list": COMPUTER,
    "allDocs.v0.instance_node_instance_list": INSTANCE,
    "get.v0.compute_node_status": COMPUTER,
    "get.v0.compute_partition": {**COMPUTER, "compute_partition_id": "slappart0"},
    "get.v0.instance_tree": {"title": "service"},
    "get.v0.software_instance": INSTANCE,
    "get.v0.software_instance_certificate": INSTANCE,
    "post.v0.compute_node_usage": {**COMPUTER, "tioxml": "<journal/>"},
    "post.v0.software_installation": RELEASE,
    "post.v0.software_instance": ORDER,
    "put.v0.compute_node_bang": {**COMPUTER, "message": "again"},
    "put.v0.compute_node_format": {**COMPUTER, "compute_partition_list": []},
    "put.v0.software_installation_error": {**RELEASE, "message": "no gcc"},
    "put.v0.software_installation_reported_state": {**RELEASE, "reported_state": "available"},
    "put.v0.software_instance_bang": {**INSTANCE, "message": "again"},
    "put.v0.software_instance_connection_parameter": {**INSTANCE, "connection_parameter_dict": {}},
    "put.v0.software_instance_error": {**INSTANCE, "message": "no disk"},
    "put.v0.software_instance_reported_state": {**INSTANCE, "reported_state": "started"},
    "put.v0.software_instance_title": {**INSTANCE, "title": "renamed"},
    "remove.v0.compute_node_certificate": COMPUTER,
}


@pytest.fixture
def user(world: World) -> Rpc:
    return Rpc(world, world.token.removeprefix("Bearer "))


def test_what_is_not_there_is_forbidden(user: Rpc) -> None:
    for method, body in ABSENT.items():
        title = user.refused(method, 403, **body)
        assert "service" in title or "1" in title or "/x/" in title, (method, title)


def test_a_field_too_many_or_too_few_is_malformed(user: Rpc) -> None:
    assert "colour" in user.refused("get.v0.hateoas_url", 400, colour="red")
    for method, body in ABSENT.items():
        assert "colour" in user.refused(method, 400, **body, colour="red")
        for name in body:
            fewer = {key: value for key, value in body.items() if key != name}
            assert f"{name}: Field required" in user.refused(method, 400, **fewer)
            assert name in user.refused(method, 400, **{**body, name: 7})


def test_what_others_have_is_not_there(world: World, user: Rpc) -> None:
    node = world.computer()
    mine = {"title": "mine", "software_release_uri": world.supplied(node), "software_type": "default"}
    guid = user.call("post.v0.software_instance", **mine)["instance_guid"]
    release = {"computer_guid": node.guid, "software_release_uri": mine["software_release_uri"]}
    real = {"computer_guid": node.guid, "instance_guid": guid, "title": "mine", **release}
    strangers = [Rpc(world, token) for token in _strangers(world)]
    for method, body in ABSENT.items():
        found = {name: real.get(name, value) for name, value in body.items()}
        for stranger in strangers:
            stranger.refused(method, 403, **found)
    assert strangers[0].call("allDocs.v0.instance_tree_list") == {"result_list": [{"title": "theirs"}]}
    after = user.call("get.v0.software_instance", instance_guid=guid)
    assert (after["title"], after["state"], after["connection_parameters"]) == ("mine", "started", {})


def _strangers(world: World) -> list[str]:
    """Another user, that user's computer, and an instance in it."""
    token = create_user(world.database, "stranger")
    api = world.speaking(token)
    node = world.computer("other", owner=api)
    other = Rpc(world, token)
    url = world.release("theirs")
    other.call("post.v0.software_installation", computer_guid=node.guid, software_release_uri=url)
    theirs = {"title": "theirs", "software_release_uri": url, "software_type": "default"}
    guid = other.call("post.v0.software_instance", **theirs)["instance_guid"]
    computer = api.new_computer_token(node.guid).token
    instances = world.speaking(computer).desired_state(node.guid).instances
    return [token, computer, next(each.token for each in instances if each.guid == guid)]


def test_an_order_that_no_computer_can_take_says_why(world: World, user: Rpc) -> None:
    node = world.computer(partitions=1)
    asked = {"software_release_uri": world.supplied(node), "software_type": "default"}
    user.call("post.v0.software_instance", title="first", **asked)
    title = user.refused("post.v0.software_instance", 403, title="second", **asked)
    assert "one" in title and "partition" in title
    assert "reference" in user.refused("post.v0.software_instance", 400, title="../first", **asked)
    user.refused("post.v0.software_instance", 400, title="zero\u0000", **asked)


def test_parameters_that_break_their_schema_are_named(world: World, user: Rpc) -> None:
    schema = {"type": "object", "properties": {"port": {"type": "integer"}}, "additionalProperties": False}
    url = world.supplied(world.computer(), schema=schema)
    asked = {"title": "service", "software_release_uri": url, "software_type": "default"}
    assert "port" in user.refused("post.v0.software_instance", 400, **asked, parameters={"port": "x"})
    assert "prot" in user.refused("post.v0.software_instance", 400, **asked, parameters={"_": '{"prot": 1}'})


def test_keys_are_not_made_for_computers_unless_the_operator_says_so(world: World, user: Rpc) -> None:
    node = world.computer()
    assert "makes no keys" in user.refused("post.v0.compute_node_certificate", 403, computer_guid=node.guid)
    user.call("remove.v0.compute_node_certificate", computer_guid=node.guid)


BODIES = [b"", b"{", b"[]", b"null", b"7", b'"{}"', b"\xff\xfe", b"{" * 1000, b'{"a": NaN}', b"\x00"]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_no_object_is_malformed(user: Rpc, body: bytes) -> None:
    status, document = user.send("allDocs.v0.instance_tree_list", body)
    assert (status, document["status"], document["type"]) == (400, 400, "Bad Request")


def test_a_body_has_a_largest_size(user: Rpc) -> None:
    body = b'{"title": "' + b"a" * (5 << 20) + b'"}'
    assert user.send("get.v0.instance_tree", body)[1]["status"] == 413


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "PATCH"])
def test_everything_is_posted(user: Rpc, verb: str) -> None:
    for method in ANSWERS:
        status, document = user.send(method, None, verb)
        assert (status, document["type"]) == (405, "Method Not Allowed")


@pytest.mark.parametrize("method", ["get.v0.nothing", "get.v1.software_instance", "get.v0.", "."])
def test_there_are_no_other_methods(user: Rpc, method: str) -> None:
    status, document = user.send(method, b"{}")
    assert (status, document["status"]) == (404, 404)
    assert method in document["title"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Accept": "text/html"}, 406),
        ({"Accept": "application/xml, text/*;q=0.5"}, 406),
        ({"Accept": "text/html, application/*;q=0.1"}, 200),
        ({"Accept": "*/*"}, 200),
        ({"Accept": "application/json;charset=utf-8"}, 200),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "application/json; charset=utf-8"}, 200),
        ({"Authorization": "Bearer nobody"}, 401),
        ({"Authorization": ""}, 401),
        ({"Authorization": "X-SlapPartition computer_id=COMP-1, computer_partition_id=slappart0"}, 401),
    ],
)
def test_what_the_headers_say_counts(user: Rpc, headers: dict[str, str], status: int) -> None:
    found, document = user.send("allDocs.v0.instance_tree_list", b"{}", **headers)
    assert found == status
    assert found == 200 or document["status"] == status
