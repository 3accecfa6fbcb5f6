"""Each room imports only what the plan of the house allows."""

import pytest

from tests.house.layers import (
    ORDERS,
    PROTOCOLS,
    QUERIES_OUTSIDE_SERVICES,
    ROOMS,
    SLAPOS_IMPORTERS,
    SLAPOS_INSTALLER,
    SLAPOS_PROTOCOLS,
    backward_imports,
    cycle,
    forbidden_imports,
    modules_with_queries,
    slapos_importers,
    unit_cycles,
    unit_imports,
)
from tests.house.sources import Source, measured_code, python_of

CODE = measured_code()


@pytest.mark.parametrize("source", CODE, ids=lambda source: source.name)
def test_imports_follow_the_plan(source: Source) -> None:
    assert forbidden_imports(source) == []


def test_no_modules_import_each_other() -> None:
    assert cycle(python_of("slap")) == []


@pytest.mark.parametrize("room", sorted({source.room for source in CODE} - {""}))
def test_units_of_a_room_form_no_cycle(room: str) -> None:
    assert unit_cycles(unit_imports(CODE, room)) == set()


@pytest.mark.parametrize("room", ORDERS)
def test_units_import_downwards_only(room: str) -> None:
    graph = unit_imports(CODE, room)
    assert set(graph) == set(ORDERS[room])
    assert backward_imports(graph, ORDERS[room]) == []


def test_protocols_of_slapos_are_installed_at_one_place() -> None:
    graph = unit_imports(CODE, "master")
    importers = {unit for unit, targets in graph.items() if targets & SLAPOS_PROTOCOLS}
    assert importers - SLAPOS_PROTOCOLS == {SLAPOS_INSTALLER}


def test_compatibility_with_slapos_is_plugged_in_at_one_place_each() -> None:
    assert slapos_importers(source for source in CODE if source.room == "node") == SLAPOS_IMPORTERS


def test_protocols_leave_queries_to_services() -> None:
    assert modules_with_queries(CODE, "master", PROTOCOLS) == QUERIES_OUTSIDE_SERVICES


def test_all_rooms_are_on_the_plan() -> None:
    assert {source.room for source in CODE} - {""} <= set(ROOMS)


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("slap/model/a.py", "import slap.system.files", False),
        ("slap/model/a.py", "from slap.model.base import Name", True),
        ("slap/master/a.py", "from slap.client import master", False),
        ("slap/master/a.py", "from slap.node.agent import Agent", False),
        ("slap/node/a.py", "from slap.client.master import Master", True),
        ("slap/cli/a.py", "from slap.recipes import base", False),
        ("slap/node/a.py", "from slap.cli import base", False),
        ("slap/node/a.py", "from ..cli import base", False),
        ("slap/client/a.py", "import requests.adapters", False),
        ("slap/system/a.py", "from requests import Session", True),
        ("slap/node/a.py", "from zc.buildout.buildout import main", True),
        ("slap/cli/a.py", "import zc.buildout", False),
        ("slap/attic/a.py", "from slap.model.base import Name", False),
        ("software/web/server.py", "from slap.model.base import Name", False),
        ("software/web/server.py", "import requests", True),
    ],
)
def test_the_plan_is_applied(name: str, text: str, allowed: bool) -> None:
    assert (forbidden_imports(Source(name, text)) == []) is allowed


def test_a_cycle_is_found() -> None:
    first, second = Source("slap/a/b.py", "from slap.a import c"), Source("slap/a/c.py", "from slap.a.b import d")
    assert set(cycle([first, second])) == {"slap.a.b", "slap.a.c"}


def test_importers_of_compatibility_are_found() -> None:
    sources = [
        Source("slap/node/a/slapos_x.py", ""),
        Source("slap/node/a/y.py", "from slap.node.a import slapos_x"),
        Source("slap/node/b.py", "from slap.node.a.slapos_x import z"),
    ]
    assert slapos_importers(sources) == {"slap.node.a.slapos_x": {"slap.node.a.y", "slap.node.b"}}


def test_queries_are_found() -> None:
    sources = [
        Source("slap/master/api/a.py", "from sqlalchemy import Connection, select"),
        Source("slap/master/api/b.py", "from sqlalchemy import Connection"),
        Source("slap/master/service/c.py", "from sqlalchemy import update"),
    ]
    assert modules_with_queries(sources, "master", {"api"}) == {"slap.master.api.a"}


def test_a_cycle_of_units_is_found_where_no_modules_form_one() -> None:
    sources = [
        Source("slap/node/__init__.py", ""),
        Source("slap/node/a/one.py", "from slap.node.b.two import x"),
        Source("slap/node/b/two.py", ""),
        Source("slap/node/b/three.py", "from slap.node.c import y"),
        Source("slap/node/c.py", "from slap.node.a import four"),
        Source("slap/node/a/four.py", ""),
        Source("slap/node/d.py", "from slap.node.a.four import z\nfrom slap.cli import a"),
    ]
    assert cycle(sources) == []
    graph = unit_imports(sources, "node")
    assert graph == {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert unit_cycles(graph) == {frozenset("abc")}
    assert backward_imports(graph, "cbad") == ["c imports a"]
    assert backward_imports(graph, "cba") == ["d has no place in the order", "c imports a"]
