"""What instances use: told by their nodes, shown to their owners."""

from datetime import UTC, datetime, timedelta

import pytest

from slap.model.errors import Forbidden, NotFound
from slap.model.tioxml import write_journal
from slap.model.usage import SLOTS, Usage, UsageReport, UsageSeries
from tests.contract.master.world import World, order

pytestmark = pytest.mark.sql

_START = datetime(2026, 5, 4, tzinfo=UTC)


def _slot(number: int, cpu: float = 1.0) -> Usage:
    return Usage(start=_START + timedelta(minutes=30 * number), seconds=1800, cpu=cpu)


def _series(instance: str, *slots: Usage) -> UsageSeries:
    return UsageSeries(instance=instance, partition="slappart0", slots=slots)


def test_what_is_told_is_shown_to_the_owner_alone(world: World) -> None:
    node = world.computer()
    instance = world.admin.request(order(world.supplied(node)))
    assert world.admin.usage(instance.guid).slots == ()
    node.api.report_usage(node.guid, UsageReport(series=(_series(instance.guid, _slot(0), _slot(1)),)))
    node.api.report_usage(node.guid, UsageReport(series=(_series(instance.guid, _slot(1, cpu=5)),)))
    shown = world.admin.usage(instance.guid)
    assert (shown.reference, [slot.cpu for slot in shown.slots]) == ("service", [1.0, 5.0])
    (beside,) = world.admin.computer_usage(node.guid)
    assert beside.slots == shown.slots
    with pytest.raises(NotFound):
        world.user("eve").usage(instance.guid)
    with pytest.raises(NotFound):
        world.user("eve").computer_usage(node.guid)


def test_a_day_is_kept(world: World) -> None:
    node = world.computer()
    instance = world.admin.request(order(world.supplied(node)))
    slots = tuple(_slot(number) for number in range(SLOTS + 10))
    node.api.report_usage(node.guid, UsageReport(series=(_series(instance.guid, *slots),)))
    assert world.admin.usage(instance.guid).slots == slots[10:]


def test_a_node_tells_only_of_what_is_on_it(world: World) -> None:
    node, other = world.computer("one"), world.computer("two")
    instance = world.admin.request(order(world.supplied(node)))
    report = UsageReport(series=(_series(instance.guid, _slot(0)), _series("INST-none", _slot(0))))
    other.api.report_usage(other.guid, report)
    assert world.admin.usage(instance.guid).slots == ()
    with pytest.raises(Forbidden):
        other.api.report_usage(node.guid, report)
    with pytest.raises(Forbidden):
        world.admin.report_usage(node.guid, report)


def test_many_at_once(world: World) -> None:
    node = world.computer(partitions=600)
    url = world.supplied(node)
    guids = [world.admin.request(order(url, f"service-{number}")).guid for number in range(600)]
    node.api.report_usage(node.guid, UsageReport(series=tuple(_series(guid, _slot(0)) for guid in guids)))
    assert len(world.admin.computer_usage(node.guid)) == 600


def test_a_journal_of_a_day_is_taken(world: World) -> None:
    node = world.computer()
    instance = world.admin.request(order(world.supplied(node)))
    used = _series(instance.guid, _slot(0, cpu=900))
    node.api.report_journal(node.guid, write_journal(node.guid, _START, [used]))
    (day,) = world.admin.usage(instance.guid).slots
    assert (day.start, day.seconds, round(day.load, 3)) == (_START, 86400, 0.5)
