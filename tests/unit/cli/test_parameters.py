"""From the words of a command line to an order."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest

from slap.cli.order.documents import parse_file
from slap.cli.order.parameters import add_request_options, parse_parameters, parse_sla, parse_value, request_of
from slap.model.errors import UsageError
from slap.model.instance import InstanceRequest, Sla
from slap.model.serialisation import Serialisation


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8080", 8080), ("-1.5", -1.5), ("true", True), ("null", None), ('"8080"', "8080"), ("[1]", [1]),
        ("1.10", "1.10"), ("1e3", "1e3"), ("007", "007"), ("NaN", "NaN"), ("", ""), ("a=b", "a=b"), ("True", "True"),
    ],
)  # fmt: skip
def test_a_value_is_json_where_that_loses_nothing(text: str, value: Any) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_parameters_are_pairs_or_one_object() -> None:
    assert parse_parameters([]) == {}
    assert parse_parameters(["port=1", "name=a=b"]) == {"port": 1, "name": "a=b"}
    assert parse_parameters([' {"port": 1}']) == {"port": 1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["port"], "not of the form key=value"),
        (["=1"], "not of the form key=value"),
        (["a=1", "a=2"], "a key twice"),
        (['{"a": }'], "is not JSON"),
    ],
)
def test_wrong_parameters_are_named(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_parameters(words)


@pytest.mark.parametrize(
    ("words", "sla"),
    [
        ([], Sla()),
        (["computer=COMP-1"], Sla(computer="COMP-1")),
        (["computer_guid=COMP-1", "network_guid=lan"], Sla(computer="COMP-1", network="lan")),
        (["computer_guid=COMP-1,network_guid=lan"], Sla(computer="COMP-1", network="lan")),
        (["instance_guid=INST-1"], Sla(instance="INST-1")),
        (
            ["capability=kvm,capability=ipv6,zone=paris"],
            Sla(labels={"zone": "paris"}, capabilities=frozenset({"kvm", "ipv6"})),
        ),
        (["capability=kvm,ipv6", "zone=paris"], Sla(labels={"zone": "paris"}, capabilities={"kvm", "ipv6"})),
    ],
)
def test_where_to_place(words: list[str], sla: Sla) -> None:
    assert parse_sla(words) == sla


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["zone=a", "zone=b"], "a key twice"),
        (["computer=a", "computer_guid=b"], "a key twice"),
        (["zone"], "key=value"),
    ],
)
def test_wrong_places_are_named(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_sla(words)


XML = '<?xml version="1.0"?>\n<instance>\n<parameter id="port">80</parameter><parameter id="e"/></instance>'


@pytest.mark.parametrize(
    ("name", "text", "parameters"),
    [
        ("p.json", '{"port": 80}', {"port": 80}),
        ("p.txt", '{"port": 80}', {"port": 80}),
        ("-", '{"port": 80}', {"port": 80}),
        ("p.yaml", "port: 80\nusers: [a]\n", {"port": 80, "users": ["a"]}),
        ("p.YML", "port: '80'\n", {"port": "80"}),
        ("p.xml", XML, {"port": "80", "e": ""}),
    ],
)
def test_a_file_is_read_by_its_name(name: str, text: str, parameters: dict[str, Any]) -> None:
    assert parse_file(text, name) == parameters


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.json", "port: 80", "p.json is not JSON"),
        ("p.json", "[1]", "p.json is not a JSON object"),
        ("p.yaml", "a: [", "p.yaml is not YAML"),
        ("p.yaml", "- 1", "p.yaml is not a JSON object"),
        ("p.yaml", "day: 2026-01-01", "Object of type date"),
        ("p.yaml", "a: !!python/object/apply:os.getcwd []", "p.yaml is not YAML"),
        ("p.xml", "<a", "p.xml is not XML with parameters"),
        ("p.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a/>', "document type or entities"),
        ("p.xml", "<a><parameter>1</parameter></a>", "has no id"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"p\.") as caught:
        parse_file(text, name)
    assert said in str(caught.value)


def order(*words: str) -> InstanceRequest:
    parser = ArgumentParser()
    add_request_options(parser)
    return request_of(parser.parse_args(["web", "http://releases/web.cfg", *words]), Path("/"))


@pytest.mark.parametrize(
    ("words", "parameters", "serialisation"),
    [
        ((), {}, Serialisation.NONE),
        (("--parameters", "a=x"), {"a": "x"}, Serialisation.NONE),
        (("--parameters", "a=80", "b=x"), {"a": 80, "b": "x"}, Serialisation.FLAT),
        (("--parameters", '{"a": 80}'), {"a": 80}, Serialisation.NONE),
        (("--parameters", '_={"a": 80}'), {"a": 80}, Serialisation.JSON),
        (("--parameters", "_=x"), {"_": "x"}, Serialisation.NONE),
        (("--parameters", '_={"a": 80}', "b=x"), {"_": {"a": 80}, "b": "x"}, Serialisation.FLAT),
        (("--force-serialisation", "xml", "--parameters", "a=80"), {"a": "80"}, Serialisation.FLAT),
        (("--force-serialisation", "json-in-xml", "--parameters", "a=x"), {"a": "x"}, Serialisation.JSON),
    ],
)
def test_the_words_say_values_and_their_form(
    words: tuple[str, ...], parameters: dict[str, Any], serialisation: Serialisation
) -> None:
    request = order(*words)
    assert (request.parameters, request.serialisation) == (parameters, serialisation)


def test_a_shared_instance_is_ordered_with_its_place_and_state() -> None:
    request = order("--slave", "--state", "stopped", "--type", "big", "--node", "instance_guid=INST-1", "zone=a")
    assert (request.shared, request.state, request.software_type) == (True, "stopped", "big")
    assert request.sla == Sla(instance="INST-1", labels={"zone": "a"})
