"""Each room imports only what the plan of the house allows."""

import pytest

from tests.house.layers import ROOMS, cycle, forbidden_imports
from tests.house.sources import Source, measured_code, python_of

CODE = measured_code()


@pytest.mark.parametrize("source", CODE, ids=lambda source: source.name)
def test_imports_follow_the_plan(source: Source) -> None:
    assert forbidden_imports(source) == []


def test_no_modules_import_each_other() -> None:
    assert cycle(python_of("slap")) == []


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
