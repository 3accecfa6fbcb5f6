"""Schemas of releases are programs of tenants: none costs another tenant anything, each gets an answer in words."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slap.client.master import Master
from slap.master.schema.validation import SchemaSettings
from slap.master.settings import LogLevel, MasterSettings
from slap.model.computer import ComputerConfiguration, ComputerRegistration, Partition
from slap.model.errors import BrokenRelease, InvalidInput, InvalidParameters, SlapError, TooMany, Unreachable
from slap.model.software import SupplyRequest
from tests.contract.master.world import World, order, serving, until

DRAFT = "https://json-schema.org/draft/2020-12/schema"
# A choice of choices: 4 ** 30 ways, none of which is right, and nothing to be remembered of them.
ENDLESS = {
    "definitions": {
        **{f"d{n}": {"anyOf": [{"$ref": f"#/definitions/d{n + 1}"}] * 4} for n in range(30)},
        "d30": {"type": "string"},
    },
    "not": {"$ref": "#/definitions/d0"},
}
TREE = {"type": "object", "properties": {"child": {"$ref": "#"}}, "additionalProperties": False}
SERVE = (
    "import sys; from slap.master.server import serve; from slap.master.settings import MasterSettings;"
    "serve(MasterSettings.model_validate_json(sys.argv[1]))"
)


def _property(**schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}}


def _nested(times: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(times):
        value = {"child": value}
    return value


@pytest.fixture(scope="module")
def world(empty_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One master for all rows, which gives checks little time."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copy(empty_sqlite, folder / "master.sqlite")
    database = f"sqlite:///{folder}/master.sqlite"
    with serving(database, schemas=SchemaSettings(seconds=0.3, seconds_a_minute=1000)) as address:
        world = World(address, database, folder)
        world.computer(partitions=99)
        yield world


def _supply(world: World, name: str, text: str) -> str:
    url = world.release(name, {})
    (Path(url).parent / "input.json").write_text(text)
    world.admin.supply(SupplyRequest(url=url, computer="one"))
    return url


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("pattern", json.dumps(_property(pattern="((")), "a group is not closed"),
        ("escape", json.dumps(_property(pattern=r"^a\Z")), "no escape of ECMA 262"),
        ("backreference", json.dumps(_property(pattern=r"(a)\1")), "backreference"),
        ("name-pattern", json.dumps({"patternProperties": {"[b-a]": {}}}), "out of order"),
        ("huge-pattern", json.dumps(_property(pattern=r"(\p{L}{1,900}){1,900}")), ""),
        ("itself", '{"$ref": "#"}', "# -> #"),
        ("circle", '{"definitions": {"a": {"allOf": [{"$ref": "#/definitions/a"}]}}}', "#/definitions/a"),
        ("remote", '{"$ref": "http://127.0.0.1:9/x"}', "lie beside each other"),
        ("remote-dynamic", f'{{"$schema": "{DRAFT}", "$dynamicRef": "http://127.0.0.1:9/x"}}', "not present"),
        ("dangling", '{"$ref": "#/nowhere"}', "/nowhere"),
        ("deep", '{"not":' * 600 + "{}" + "}" * 600, "levels are read"),
        ("deeper", '{"not":' * 40_000 + "{}" + "}" * 40_000, "levels are read"),
        ("number", '{"minimum": 1' + "0" * 5000 + "}", "5001 digits"),
        ("integer", '{"maximum": 1' + "0" * 30 + "}", "64 bits"),
        ("surrogate", '{"title": "\\ud800"}', "cannot be stored"),
        ("large", json.dumps({"title": "x" * 600_000}), "bytes"),
        ("wide", json.dumps({"allOf": [{}] * 11_000}), "objects"),
        ("properties", '{"properties": true}', "$.properties"),
        ("draft", '{"$schema": ["x"]}', "is not of type"),
        ("id", json.dumps({"$id": "http://[::1", **_property(pattern="a")}), "http://[::1"),
    ],
)
def test_a_hostile_schema_is_refused_at_supply(world: World, name: str, text: str, reason: str) -> None:
    with pytest.raises(BrokenRelease) as caught:
        _supply(world, f"supply-{name}", text)
    assert reason in caught.value.details


def test_files_that_refer_to_each_other_in_a_row_are_refused(world: World) -> None:
    url = world.release("files", {"$ref": "0.json"})
    for number in range(400):
        (Path(url).parent / f"{number}.json").write_text(json.dumps({"items": {"$ref": f"{number + 1}.json"}}))
    (Path(url).parent / "400.json").write_text("{}")
    with pytest.raises(InvalidInput, match="more than 100 files"):
        world.admin.supply(SupplyRequest(url=url, computer="one"))
    (Path(url).parent / "3.json").write_text("{}")
    world.admin.supply(SupplyRequest(url=url, computer="one"))


@pytest.mark.parametrize(
    ("name", "schema", "parameters", "reason"),
    [
        ("pattern", _property(pattern="^(a+)+$"), {"x": "a" * 5000 + "!"}, "does not match"),
        (
            "name-pattern",
            {"patternProperties": {"^(a|a)*$": {}}, "additionalProperties": False},
            {"a" * 99 + "!": 1},
            "!",
        ),
        ("lookahead", _property(pattern="^(?=a)(a|a)*$"), {"x": "a" * 40 + "!"}, "$.x"),
        ("line-end", _property(pattern="^[a-z]+$"), {"x": "abc\n"}, "does not match"),
        ("choices", ENDLESS, {"x": 1}, "The check was ended"),
        ("recursion", TREE, _nested(60) | {"x": 1}, "unexpected"),
        ("many", {"additionalProperties": {"type": "string"}}, {f"{n}": n for n in range(3000)}, "$['10']"),
        ("long", _property(type="integer"), {"x": "a" * 100_000}, "$.x"),
        ("terminal", _property(const="\x1b[2J\u009b"), {"x": "\x1b\u009b"}, "u001b"),
        ("tiny", _property(multipleOf=1e-300), {"x": "1e308"}, ""),
    ],
)
def test_hostile_parameters_are_refused_in_few_words(
    world: World, name: str, schema: dict[str, Any], parameters: dict[str, Any], reason: str
) -> None:
    url = _supply(world, f"request-{name}", json.dumps(schema))
    if not reason:
        world.admin.request(order(url, name, parameters=parameters))
        return
    with pytest.raises(InvalidParameters) as caught:
        world.admin.request(order(url, name, parameters=parameters))
    assert reason in caught.value.details
    assert len(caught.value.details.splitlines()) <= 50
    assert max(map(len, caught.value.details.splitlines())) < 350
    assert caught.value.details.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("name", "schema", "parameters"),
    [
        ("letters", _property(pattern=r"^\p{L}+$"), {"x": "\xe9t\xe9"}),
        ("unique", _property(uniqueItems=True), {"x": [{"n": n, "f": [n]} for n in range(6000)]}),
        ("tree", TREE, _nested(60)),
        ("dynamic", {"$schema": DRAFT, "$dynamicRef": "#x", "$dynamicAnchor": "x"}, {"x": 1}),
        ("format", _property(format="regex"), {"x": "(("}),
        ("unknown-draft", {"$schema": "http://127.0.0.1:9/x", **_property(type="string")}, {"x": "a"}),
        ("product", {"additionalProperties": {"allOf": [{"type": "integer"}] * 900}}, {str(n): n for n in range(900)}),
    ],
)
def test_what_is_only_odd_is_taken(world: World, name: str, schema: dict[str, Any], parameters: dict[str, Any]) -> None:
    url = _supply(world, f"odd-{name}", json.dumps(schema))
    world.admin.request(order(url, f"odd-{name}", parameters=parameters))


def test_plans_are_checked_the_same_way(world: World) -> None:
    url = _supply(world, "plan", json.dumps(ENDLESS))
    with pytest.raises(InvalidParameters, match=r"takes longer than 0\.3 s to check these parameters"):
        world.admin.plan(order(url, "plan", parameters={"x": 1}))


def _furnish(world: World, user: Master, name: str, schema: dict[str, Any]) -> str:
    """A computer of a user, and a release that is supplied to it."""
    guid = user.register_computer(ComputerRegistration(title=name)).guid
    user.configure_computer(guid, ComputerConfiguration(partitions=(Partition(name="slappart0"),)))
    url = world.release(name, schema)
    user.supply(SupplyRequest(url=url, computer=guid))
    return url


def _workers(parent: int) -> set[int]:
    """The workers of a process."""
    children = {
        int(pid) for each in Path(f"/proc/{parent}/task").glob("*/children") for pid in each.read_text().split()
    }
    return {pid for pid in children if "slap.master.schema.worker" in (Path(f"/proc/{pid}/cmdline")).read_text()}


def test_others_are_served_while_a_check_takes_long_and_when_its_worker_is_killed(
    fresh_database: str, tmp_path: Path
) -> None:
    before = _workers(os.getpid())  # of the master of the rows above
    with (
        serving(fresh_database, schemas=SchemaSettings(seconds=60, seconds_a_minute=1000)) as address,
        ThreadPoolExecutor() as threads,
    ):
        world = World(address, fresh_database, tmp_path)
        alices, bob = [world.user("alice") for _ in range(3)], world.user("bob")
        slow = _furnish(world, alices[0], "slow", ENDLESS)
        quick = _furnish(world, bob, "quick", _property(pattern="^a+$"))
        asked = [threads.submit(each.request, order(slow, parameters={"x": 1})) for each in alices]
        until(lambda: any(each.running() for each in asked))
        bob.request(order(quick, parameters={"x": "aaa"}))
        with pytest.raises(InvalidParameters, match="does not match"):
            bob.request(order(quick, "other", parameters={"x": "b"}))
        assert len(_workers(os.getpid()) - before) <= 2
        assert not any(each.done() for each in asked)
        until(lambda: _kill(_workers(os.getpid()) - before) and all(each.done() for each in asked))
        answers = {each.exception().__class__ for each in asked}
        assert InvalidParameters in answers
        assert answers <= {InvalidParameters, Unreachable}  # the latter when a worker is killed before it is ready


def _kill(workers: set[int]) -> bool:
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    return True


def test_a_user_whose_schemas_took_too_much_is_refused_for_a_while(fresh_database: str, tmp_path: Path) -> None:
    with serving(fresh_database, schemas=SchemaSettings(seconds=0.3, seconds_a_minute=0.1)) as address:
        world = World(address, fresh_database, tmp_path)
        world.computer()
        url = world.supplied(name="slow", schema=ENDLESS)
        world.admin.supply(SupplyRequest(url=url, computer="one"))
        with pytest.raises(InvalidParameters, match="takes longer"):
            world.admin.request(order(url, parameters={"x": 1}))
        with pytest.raises(TooMany, match="later"):
            world.admin.request(order(url, parameters={"x": 1}))


def test_workers_are_limited_and_end_with_a_master_that_is_killed(empty_sqlite: Path, tmp_path: Path) -> None:
    shutil.copy(empty_sqlite, tmp_path / "master.sqlite")
    database = f"sqlite:///{tmp_path}/master.sqlite"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = MasterSettings(
        database_url=database, port=port, schema_seconds=60, log_level=LogLevel.ERROR, release_folders=(tmp_path,)
    )
    master = subprocess.Popen([sys.executable, "-c", SERVE, settings.model_dump_json()])
    threads = ThreadPoolExecutor(1)
    try:
        world = World(f"http://127.0.0.1:{port}", database, tmp_path)
        until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)))
        url = _furnish(world, world.admin, "slow", ENDLESS)
        asked = threads.submit(world.admin.request, order(url, parameters={"x": 1}))
        until(lambda: _workers(master.pid) and all(map(_is_limited, _workers(master.pid))))
        workers = _workers(master.pid)
    finally:
        master.kill()
        master.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    with pytest.raises(SlapError):
        asked.result()
    threads.shutdown()


def _is_limited(pid: int) -> bool:
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    of = {line[:20].strip(): line.split()[3] for line in limits if line.startswith(("Max address", "Max cpu"))}
    return "unlimited" not in of.values() and len(of) == 2
