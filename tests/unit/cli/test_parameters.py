"""From the words of a command line to an order."""

from typing import Any

import pytest

from slap.cli.order.parameters import parse_parameters, parse_sla, parse_value
from slap.model.errors import UsageError
from slap.model.instance import Sla


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
    ("text", "sla"),
    [
        ("", Sla()),
        ("computer=COMP-1", Sla(computer="COMP-1")),
        ("computer_guid=COMP-1,network_guid=lan", Sla(computer="COMP-1", network="lan")),
        (
            "capability=kvm,capability=ipv6,zone=paris",
            Sla(labels={"zone": "paris"}, capabilities=frozenset({"kvm", "ipv6"})),
        ),
    ],
)
def test_where_to_place(text: str, sla: Sla) -> None:
    assert parse_sla(text) == sla
