"""Odd values in every field of every protocol, on both databases: kept or refused in words, never a failure of the master."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slap.master.app import create_app
from slap.model.instance import Instance
from slap.system.transport import HttpTransport, Reply
from tests.contract.conftest import copied
from tests.contract.master.world import Node, World, order, serving
from tests.system.postgresql import PostgreSql

ODD: dict[str, Any] = {
    "NUL": "a\0b",
    "surrogate": "a\ud800b",
    "65 bits": 2**63,
    "NaN": math.nan,
    "deep": json.loads("[" * 90 + "]" * 90),
    "key": {"a\0": {"\ud800": 1}},
    "long": "x" * 5000,
}
OBJECT_IS_ODD = ("a\0b", "a\ud800b")


class Target:
    """A master with a computer and an instance, and everything that can be sent to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.node: Node = world.computer(partitions=40)
        self.url = world.supplied(self.node)
        self.instance: Instance = world.admin.request(order(self.url, "known"))
        world.admin.request(order(self.url, "fuzzed"))
        self.transport = HttpTransport()
        self.failures: list[str] = []

    def send(
        self, who: Any, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> Reply:
        headers = {**who._headers, "Content-Type": kind}
        reply = self.transport.send(method, self.world.address + path, headers, body, 60)
        if reply.status >= 500 or b"ncident" in reply.body:
            self.failures.append(f"{reply.status} {method} {path[:200]} {(body or b'')[:300]!r} {reply.body[:200]!r}")
        return reply

    def is_not_poisoned(self) -> bool:
        """Whether everything can still be listed."""
        guid, admin, node = self.node.guid, self.world.admin, self.node.api
        replies = [
            self.send(admin, "GET", "/api/v1/instances"),
            self.send(admin, "GET", f"/api/v1/instances/{self.instance.guid}/history"),
            self.send(admin, "GET", f"/api/v1/computers/{guid}"),
            self.send(node, "GET", f"/api/v1/computers/{guid}/state"),
            self.send(node, "GET", f"/getFullComputerInformation?computer_id={guid}"),
            self.send(
                node,
                "POST",
                "/slapos.allDocs.v0.compute_node_instance_list",
                json.dumps({"computer_guid": guid}).encode(),
            ),
            self.send(admin, "GET", f"/hateoas?{urlencode({'mode': 'search', 'query': _TREES})}"),
        ]
        return [each.status for each in replies] == [200] * len(replies)


_TREES = 'portal_type:"Instance Tree" AND validation_state:validated'


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder: Path = tmp_path_factory.mktemp("odd")
    server: Callable[[], PostgreSql] = lambda: request.getfixturevalue("postgresql")  # noqa: E731
    if request.param == "sqlite":
        database = copied(request.getfixturevalue("empty_sqlite"), folder)
    else:
        database = server().new_database(request.getfixturevalue("empty_postgresql"))
    with serving(database) as address:
        yield Target(World(address, database, folder))


def bodies(target: Target) -> dict[tuple[str, str], Any]:
    """A good document for each operation that takes one."""
    wanted = {
        "reference": "r",
        "software_release": target.url,
        "software_type": "default",
        "parameters": {"a": {"b": [1]}},
        "state": "started",
        "sla": {
            "computer": "", "network": "", "labels": {"a": "b"}, "capabilities": ["c"], "instance": "", "spread": "",
            "retention": 1,
        },
        "shared": False,
        "serialisation": "",
    }  # fmt: skip
    promise = {"name": "p", "passed": True, "message": "m", "at": "2026-01-01T00:00:00Z", "seconds": 1}
    reported = {
        "guid": target.instance.guid, "revision": 1, "state": "started", "message": "m", "promises": [promise],
        "connection": {"a": 1}, "shared": {"s": {"a": 1}},
    }  # fmt: skip
    supplied = {"url": target.url, "revision": 1, "state": "error", "message": "m", "log": "l"}
    report = {"instances": [reported], "supplies": [supplied], "logs": [{"id": "i", "text": "t"}], "incarnation": ""}
    slot = {"start": "2026-01-01T00:00:00Z", "seconds": 1, "cpu": 1, "memory": 1, "disk": 1, "read": 1, "sent": 1}
    series = {"instance": target.instance.guid, "partition": "slappart0", "reference": "r", "slots": [slot]}
    partition = {"name": "slappart0", "ipv4": ["127.0.0.1"], "ipv6": ["::1"], "tap": "t", "route": ["a", "b", "c", "d"]}
    configuration = {"partitions": [partition], "labels": {"a": "b"}, "capabilities": ["c"], "network": "n"}
    return {
        ("post", "/instances"): wanted,
        ("post", "/plans"): wanted,
        ("post", "/computers"): {"title": "t", "guid": "g", "replace": False},
        ("put", "/computers/{guid}/configuration"): configuration,
        ("post", "/computers/{guid}/bang"): {"message": "m"},
        ("post", "/computers/{guid}/reports"): report,
        ("post", "/computers/{guid}/usage"): {"series": [series]},
        ("post", "/computers/{guid}/journal"): {"text": "<journal/>"},
        ("put", "/supplies"): {"url": target.url, "computer": target.node.guid, "state": "available"},
        ("post", "/instances/{guid}/bang"): {"message": "m"},
        ("put", "/instances/{guid}/name"): {"name": "known"},
        ("post", "/registration-tokens"): {"title": "t", "guid": "g"},
        ("post", "/registrations"): {"token": "register:x", "title": "t", "request": "r"},
        ("post", "/certificates"): {"request": "r", "partition": "slappart0"},
    }


def with_odd(document: Any, value: Any) -> Iterator[Any]:
    """The document with the value in place of each part of it in turn, and as a name in each object."""
    yield value
    if isinstance(document, dict):
        for name, each in document.items():
            yield from ({**document, name: changed} for changed in with_odd(each, value))
        for name in OBJECT_IS_ODD if value == ODD["key"] else ():
            yield {**document, name: 1}
    if isinstance(document, list):
        for number, each in enumerate(document):
            yield from ([*document[:number], changed, *document[number + 1 :]] for changed in with_odd(each, value))


def operations() -> dict[tuple[str, str], Any]:
    found = create_app("sqlite:////none").openapi()["paths"]
    return {
        (method, path.removeprefix("/api/v1")): operation
        for path, methods in found.items()
        for method, operation in methods.items()
        if path.startswith("/api/v1")
    }


@pytest.mark.parametrize("name", list(ODD))
def test_every_field_of_the_api(target: Target, name: str) -> None:
    known = bodies(target)
    assert set(known) == {key for key, operation in operations().items() if "requestBody" in operation}
    for (method, path), document in known.items():
        of_node = path.startswith("/computers/") and not path.endswith("/bang")
        place = path.replace("{guid}", target.node.guid if path.startswith("/computers/") else target.instance.guid)
        for odd in with_odd(document, ODD[name]):
            target.send(
                target.node.api if of_node else target.world.admin,
                method.upper(), f"/api/v1{place}", json.dumps(odd).encode(),
            )  # fmt: skip
    assert target.failures == []
    assert target.is_not_poisoned()


@pytest.mark.parametrize("name", [name for name, value in ODD.items() if isinstance(value, str | int | float)])
def test_every_path_and_query(target: Target, name: str) -> None:
    odd = quote(str(ODD[name]).encode("utf-8", "surrogatepass"), safe="")
    for (method, path), operation in operations().items():
        parameters = operation.get("parameters", [])
        if method != "get" or not parameters:
            continue
        for who in (target.world.admin, target.node.api):
            target.send(who, "GET", f"/api/v1{path.replace('{guid}', odd).replace('{root}', odd)}")
        for each in parameters:
            if each["in"] == "query" and not path.endswith("/logs"):
                guid = target.node.guid if path.startswith("/computers/") else target.instance.guid
                place = path.replace("{guid}", guid).replace("{root}", guid)
                target.send(target.world.admin, "GET", f"/api/v1{place}?{each['name']}={odd}")
    for path in (
        f"/hateoas/{odd}",
        f"/hateoas?mode=search&query={odd}",
        f"/hateoas?mode=search&query={quote(_TREES + ' AND title:=' + chr(34))}{odd}%22",
        f"/hateoas?mode=traverse&relative_url=instance_tree_module/{odd}",
        f"/hateoas?mode={odd}",
        f"/getFullComputerInformation?computer_id={odd}",
        f"/registerComputerPartition?computer_reference={odd}&computer_partition_reference={odd}",
        f"/getSoftwareReleaseListFromSoftwareProduct?software_product_reference={odd}",
        f"/getComputerPartitionStatus?computer_id={target.node.guid}&computer_partition_id={odd}",
        f"/{odd}",
    ):
        target.send(target.world.admin, "GET", path)
    assert target.failures == []


FORMS: dict[str, tuple[str, ...]] = {
    "requestComputerPartition": (
        "partition_reference", "software_release", "software_type", "state", "filter_xml", "partition_parameter_xml",
        "shared_xml",
    ),
    "softwareInstanceError": ("error_log", "slave_reference"),
    "softwareInstanceRename": ("new_name", "slave_reference"),
    "setComputerPartitionConnectionXml": ("connection_xml", "slave_reference"),
    "softwareReleaseError": ("url", "error_log"),
    "supplySupply": ("url", "computer_id", "state"),
    "useComputer": ("use_string",),
    "loadComputerConfigurationFromXML": ("xml",),
    "requestComputer": ("computer_title",),
    "updateComputerPartitionRelatedInstanceList": ("instance_reference_xml",),
    "stoppedComputerPartition": ("computer_id", "computer_partition_id"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ODD))
def test_every_field_of_the_classic_protocol(target: Target, name: str) -> None:
    raw = json.dumps(ODD[name])
    plain = ODD[name] if isinstance(ODD[name], str) else raw
    wrapped = [_dictionary("x", plain), _dictionary("_", f'{{"a": {raw}}}'), plain]
    for path, fields in FORMS.items():
        good = {
            "computer_id": target.node.guid, "computer_partition_id": target.instance.partition, "url": target.url,
            "software_release": target.url, "partition_reference": "classic",
        }  # fmt: skip
        for field in fields:
            for odd in wrapped if field.endswith("xml") else [plain]:
                form = {key: value.encode("utf-8", "surrogatepass") for key, value in {**good, field: odd}.items()}
                for who in (target.node.api, target.world.admin):
                    target.send(who, "POST", f"/{path}", urlencode(form).encode(), "application/x-www-form-urlencoded")
    assert target.failures == []
    assert target.is_not_poisoned()


def _dictionary(key: str, text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return f"<marshal><dictionary id='i2'><string>{key}</string><string>{escaped}</string></dictionary></marshal>"


def calls(target: Target) -> dict[str, Any]:
    guid, instance, url = target.node.guid, target.instance.guid, target.url
    partition = {"partition_id": "slappart0", "ip_list": [{"ip-address": "127.0.0.1"}]}
    return {
        "post.v0.software_instance": {
            "title": "rpc", "software_release_uri": url, "software_type": "default", "parameters": {"x": 1, "_": "{}"},
            "sla_parameters": {"retention_delay": 1, "network_guid": "n"}, "state": "started", "shared": False,
        },
        "put.v0.software_instance_connection_parameter": {
            "instance_guid": instance, "connection_parameter_dict": {"_": "{}"},
        },
        "put.v0.software_instance_error": {"instance_guid": instance, "message": "m"},
        "put.v0.software_instance_title": {"instance_guid": instance, "title": "known"},
        "put.v0.software_instance_reported_state": {"instance_guid": instance, "reported_state": "started"},
        "put.v0.software_installation_error": {"computer_guid": guid, "software_release_uri": url, "message": "m"},
        "put.v0.compute_node_format": {"computer_guid": guid, "compute_partition_list": [partition]},
        "post.v0.compute_node_usage": {"computer_guid": guid, "tioxml": "<journal/>"},
        "get.v0.compute_partition": {"computer_guid": guid, "compute_partition_id": "slappart0"},
    }  # fmt: skip


@pytest.mark.parametrize("name", list(ODD))
def test_every_field_of_json_rpc(target: Target, name: str) -> None:
    for method, document in calls(target).items():
        for odd in with_odd(document, ODD[name]):
            who = target.world.admin if method.startswith("post.v0.software_instance") else target.node.api
            target.send(who, "POST", f"/slapos.{method}", json.dumps(odd).encode())
    raw = f'{{"x": {json.dumps(ODD[name])}}}'
    published = {"instance_guid": target.instance.guid, "connection_parameter_dict": {"_": raw}}
    path = "/slapos.put.v0.software_instance_connection_parameter"
    target.send(target.node.api, "POST", path, json.dumps(published).encode())
    assert target.failures == []
    assert target.is_not_poisoned()


@pytest.mark.parametrize(
    "value", ["NaN", "1e999", "18446744073709551616", "-9223372036854775809", '"\\ud800"', '"\\u0000"']
)
def test_each_protocol_refuses_the_same_parameters(target: Target, value: str) -> None:
    admin, url = target.world.admin, target.url
    native = f'{{"reference":"n","software_release":"{url}","parameters":{{"a":{value}}}}}'.encode()
    rpc = (
        f'{{"title":"n","software_release_uri":"{url}","software_type":"default","parameters":{{"a":{value}}}}}'
    ).encode()
    form = {"software_release": url, "partition_reference": "n"}
    classic = urlencode({**form, "partition_parameter_xml": _dictionary("_", f'{{"a": {value}}}')}).encode()
    for reply in (
        target.send(admin, "POST", "/api/v1/instances", native),
        target.send(admin, "POST", "/slapos.post.v0.software_instance", rpc),
        target.send(admin, "POST", "/requestComputerPartition", classic, "application/x-www-form-urlencoded"),
    ):
        assert reply.status == 400, reply
    assert target.failures == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parameters=st.dictionaries(st.text(st.characters(exclude_categories=())), _JSON, max_size=3))
def test_parameters_are_kept_as_they_are_or_refused(target: Target, parameters: dict[str, Any]) -> None:
    wanted = {"reference": "fuzzed", "software_release": target.url, "parameters": parameters}
    reply = target.send(target.world.admin, "POST", "/api/v1/instances", json.dumps(wanted).encode())
    assert target.failures == []
    if reply.status == 200:
        assert repr(json.loads(reply.body)["parameters"]) == repr(_sorted(parameters))
    else:
        assert reply.status == 400


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=lambda each: each.encode())}
    return [_sorted(each) for each in value] if isinstance(value, list) else value
