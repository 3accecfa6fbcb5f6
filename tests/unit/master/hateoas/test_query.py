"""The queries of HATEOAS: fixed forms with a name in them, whatever the name is."""

import pytest

from slap.master.hateoas.query import Kind, Query, parse
from slap.model.errors import InvalidInput

TREES = 'portal_type:"Instance Tree" AND validation_state:validated'
COMPUTERS = 'portal_type:"Compute Node" AND validation_state:validated'
INSTANCES = 'portal_type:("Software Instance", "Slave Instance") AND validation_state:validated'
SUPPLIES = 'portal_type:"Software Installation" AND validation_state:validated'

ODD_NAMES = [
    "service",
    "my service",
    'say "hello"',
    '"',
    'a" AND title:="b',
    'x" AND reference:="y',
    "50 % off",
    "%22",
    "Über größe 中文 🐍",
    "this AND that",
    "__import__('os').system('true')",
    "*",
    "",
    "a\nb",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_all_that_is_between_the_first_and_the_last_quote(name: str) -> None:
    assert parse(f'{TREES} AND title:="{name}"') == Query(Kind.TREE, {"title": name})
    assert parse(f'{COMPUTERS} AND reference:="{name}"') == Query(Kind.COMPUTER, {"reference": name})
    of_tree = parse(f'{INSTANCES} AND default_specialise_title:="{name}"')
    assert of_tree == Query(Kind.INSTANCE, {"default_specialise_title": name})
    of_computer = parse(f'{SUPPLIES} AND default_aggregate_reference:="{name}"')
    assert of_computer == Query(Kind.SUPPLY, {"default_aggregate_reference": name})


@pytest.mark.parametrize("name", ['say "hello"', "plain"])
def test_a_client_may_put_backslashes_before_quotes(name: str) -> None:
    escaped = name.replace('"', '\\"')
    assert parse(f'{TREES} AND title:="{escaped}"') == Query(Kind.TREE, {"title": name})


@pytest.mark.parametrize(
    ("text", "kind"),
    [(TREES, Kind.TREE), (COMPUTERS, Kind.COMPUTER), (INSTANCES, Kind.INSTANCE), (SUPPLIES, Kind.SUPPLY)],
)
def test_without_a_filter_all_is_meant(text: str, kind: Kind) -> None:
    assert parse(text) == Query(kind, {})


def test_a_computer_is_searched_by_title_and_reference() -> None:
    both = parse(f'{COMPUTERS} AND title:="one" AND reference:="COMP-1"')
    assert both == Query(Kind.COMPUTER, {"title": "one", "reference": "COMP-1"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        TREES + " ",
        " " + TREES,
        TREES.lower(),
        f'{TREES} AND title:="open',
        f"{TREES} AND title:=bare",
        f'{TREES} AND title:"similar"',
        f'{TREES} AND reference:="COMP-1"',
        f'{TREES} OR title:="x"',
        f'{COMPUTERS} AND reference:="COMP-1" AND title:=one',
        'portal_type:"Person" AND validation_state:validated',
        'portal_type:"Instance Tree"',
        "portal_type:* AND validation_state:validated",
    ],
)
def test_whatever_else_there_is_no_such_query(text: str) -> None:
    with pytest.raises(InvalidInput, match="does not know this query"):
        parse(text)


def test_a_long_query_is_refused_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(f'{COMPUTERS} AND title:="' + '" AND reference:="' * 4000 + "x")
    assert len(str(caught.value)) < 2000
