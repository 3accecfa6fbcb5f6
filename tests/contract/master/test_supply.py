"""Supplies: a release is read and checked before it is stored, and is not removed from under its instances."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slap.model.errors import BrokenRelease, Conflict, InvalidParameters, NotFound, SlapError
from slap.model.node import InstanceReport, SupplyReport
from slap.model.software import SupplyRequest
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState, SupplyState
from tests.contract.master.world import World, order

pytestmark = pytest.mark.sql

ERROR = ReportedSupplyState.ERROR


def test_a_supply_is_stored_with_what_the_release_says_of_itself(world: World) -> None:
    node = world.computer()
    world.release("app", {"type": "object", "title": "Input"})
    supply = world.admin.supply(SupplyRequest(url=str(world.folder / "app"), computer="one"))
    assert (supply.computer, supply.url) == (node.guid, str(world.folder / "app/software.cfg"))
    assert (
        world.admin.supplies()
        == world.admin.supplies(computer="one")
        == world.admin.supplies(url=supply.url)
        == [supply]
    )
    (release,) = world.admin.releases()
    assert (release.title, release.types["default"].parameters_schema["title"]) == ("app", "Input")
    assert node.api.supplies() == [supply]


def _break(name: str, words: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(words)


BROKEN: list[tuple[Callable[[Path], object], type[SlapError], str, str]] = [
    (lambda folder: (folder / "software.cfg").unlink(), NotFound, "software.cfg cannot be read", "no such file"),
    (
        _break("software.cfg.json", '{"name":\n oops}'),
        BrokenRelease,
        "software.cfg.json is not JSON",
        "Line 2, column 2",
    ),
    (_break("software.cfg.json", "[]"), BrokenRelease, "does not describe", "dictionary"),
    (lambda folder: (folder / "input.json").unlink(), NotFound, "input.json cannot be read", "no such file"),
    (_break("input.json", "{"), BrokenRelease, "input.json is not JSON", "Line 1, column 2"),
    (_break("input.json", "3"), BrokenRelease, "input.json is not a JSON Schema", "not an object"),
    (_break("input.json", '{"type": "strnig"}'), BrokenRelease, "input.json is not a valid JSON Schema", "$.type"),
    (_break("input.json", '{"$ref": "/etc/passwd"}'), BrokenRelease, "refers to /etc/passwd", "beside each other"),
]


@pytest.mark.parametrize(("damage", "kind", "brief", "details"), BROKEN)
def test_a_broken_release_is_refused_by_the_name_of_its_file(
    world: World, damage: Callable[[Path], object], kind: type[SlapError], brief: str, details: str
) -> None:
    world.computer()
    url = world.release(schema={})
    damage(Path(url).parent)
    with pytest.raises(kind) as caught:
        world.admin.supply(SupplyRequest(url=url, computer="one"))
    assert brief in caught.value.brief
    assert details in caught.value.details
    assert world.admin.supplies() == []


def test_schemas_may_be_spread_over_files(world: World) -> None:
    url = world.release(schema={"properties": {"port": {"$ref": "types.json#/definitions/port"}}})
    types = '{"definitions": {"port": {"$ref": "#/definitions/number"}, "number": {"type": "integer"}}}'
    (Path(url).parent / "types.json").write_text(types)
    world.supplied(world.computer())
    world.admin.supply(SupplyRequest(url=url, computer="one"))
    (Path(url).parent / "types.json").unlink()
    with pytest.raises(InvalidParameters, match='"x" is not of type "integer"'):
        world.admin.request(order(url, parameters={"port": "x"}))


def test_supplying_again_has_the_node_look_again_and_forgets_a_failure(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    node.report(supplies=(SupplyReport(url=url, state=ERROR, message="gcc failed", log="line"),))
    (failed,) = world.admin.supplies()
    assert (failed.reported, failed.message, failed.log) == (ERROR, "gcc failed", "line")
    known = node.api.desired_state(node.guid).revision
    assert world.supplied(node) == url
    (again,) = node.api.desired_state(node.guid, since=known).supplies
    assert again.revision > known
    assert world.admin.supplies()[0].reported is ReportedSupplyState.NONE


def test_a_release_in_use_stays_and_one_that_is_lost_can_still_be_removed(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    instance = world.admin.request(order(url))
    removal = SupplyRequest(url=url, computer="one", state=SupplyState.DESTROYED)
    with pytest.raises(Conflict) as caught:
        world.admin.supply(removal)
    assert f"service ({instance.guid})" in caught.value.details
    world.admin.request(order("", state=InstanceState.DESTROYED))
    node.report(InstanceReport(guid=instance.guid, state=ReportedInstanceState.DESTROYED))
    Path(url).unlink()
    assert world.admin.supply(removal).requested is SupplyState.DESTROYED
    assert node.api.desired_state(node.guid).supplies[0].state is SupplyState.DESTROYED
    node.report(supplies=(SupplyReport(url=url, state=ReportedSupplyState.DESTROYED),))
    assert node.api.desired_state(node.guid).supplies == ()
    assert world.admin.supplies() == []
    assert world.admin.supplies(url=url)[0].reported is ReportedSupplyState.DESTROYED


def test_what_is_not_there_is_named_with_what_looks_like_it(world: World) -> None:
    world.computer("paris")
    url = world.release()
    with pytest.raises(NotFound, match="Did you mean paris"):
        world.admin.supply(SupplyRequest(url=url, computer="pairs"))
    with pytest.raises(NotFound, match="is not supplied with"):
        world.admin.supply(SupplyRequest(url=url, computer="paris", state=SupplyState.DESTROYED))
