"""Usage as people see it."""

from datetime import UTC, datetime, timedelta

import pytest

from slap.cli.sparkline import sparkline
from slap.cli.usage import computer_usage, size, usage_text
from slap.model.usage import Usage, UsageSeries


@pytest.mark.parametrize(
    ("values", "expected"), [([0, 1, 2, 4], "▁▃▅█"), ([], ""), ([0, 0], "▁▁"), ([5], "█"), ([-1, 1], "▁█")]
)
def test_a_sparkline_has_a_bar_for_each_value(values: list[float], expected: str) -> None:
    assert sparkline(values) == expected


@pytest.mark.parametrize(
    ("amount", "expected"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_are_in_the_unit_that_people_read(amount: int, expected: str) -> None:
    assert size(amount) == expected


def _slots(count: int) -> tuple[Usage, ...]:
    start = datetime(2026, 5, 4, tzinfo=UTC)
    return tuple(
        Usage(start=start + timedelta(minutes=30 * number), seconds=1800, cpu=18.0 * number, memory=1 << 20)
        for number in range(count)
    )


def test_each_amount_is_shown_as_it_is_and_as_it_was() -> None:
    text = usage_text(_slots(3))
    cpu = next(line for line in text.splitlines() if "cpu" in line)
    assert cpu.split()[1:] == ["2.0", "%", "▁▅█"]
    assert all(len(line) <= 80 for line in usage_text(_slots(48)).splitlines())


def test_nothing_known_is_nothing_shown() -> None:
    assert usage_text(()) == ""
    assert list(computer_usage([UsageSeries(instance="a", partition="slappart0")])) == []


def test_the_busiest_come_first() -> None:
    lazy = UsageSeries(instance="a", partition="slappart0", reference="lazy", slots=_slots(2))
    busy = UsageSeries(instance="b", partition="slappart1", reference="busy", slots=_slots(4))
    _, words = computer_usage([lazy, busy])
    assert words.index("busy") < words.index("lazy")
