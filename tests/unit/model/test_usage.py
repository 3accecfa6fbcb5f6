"""Series of what instances use, and TioXML."""

from datetime import UTC, datetime, timedelta

import pytest

from slap.model.errors import InvalidInput
from slap.model.tioxml import read_journal, write_journal
from slap.model.usage import SLOTS, Usage, UsageSeries, merged, total

_START = datetime(2026, 5, 4, tzinfo=UTC)


def _slot(number: int, **amounts: float) -> Usage:
    return Usage(start=_START + timedelta(minutes=30 * number), seconds=1800, **amounts)


def test_what_is_told_again_replaces_what_was_known() -> None:
    assert merged((_slot(0, cpu=1), _slot(1, cpu=1)), (_slot(1, cpu=2), _slot(2))) == (
        _slot(0, cpu=1),
        _slot(1, cpu=2),
        _slot(2),
    )


def test_a_series_ends_growing() -> None:
    slots = tuple(_slot(number) for number in range(SLOTS + 5))
    assert merged(slots, ()) == slots[5:]


def test_the_use_of_a_computer_is_the_sum_of_its_partitions() -> None:
    summed = total(((_slot(0, cpu=1, memory=5), _slot(1, cpu=1)), (_slot(0, cpu=2, memory=6),)))
    assert [(slot.cpu, slot.memory) for slot in summed] == [(3, 11), (1, 0)]


def test_a_journal_that_is_written_is_read() -> None:
    slots = (_slot(0, cpu=180, memory=1 << 20, disk=3 << 20), _slot(1, cpu=0, memory=3 << 20, disk=3 << 20))
    series = UsageSeries(instance="INST-1", partition="slappart0", slots=slots)
    (day,) = read_journal(write_journal("COMP-1", _START, [series]))["slappart0"]
    assert (day.start, day.seconds) == (_START, 86400)
    assert day.load == pytest.approx(0.05)
    assert (day.memory, day.disk) == (2 << 20, 3 << 20)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<journal",
        '<!DOCTYPE a [<!ENTITY b "c">]><journal/>',
        "<journal><transaction/></journal>",
        "<journal><transaction><start_date>today</start_date></transaction></journal>",
    ],
)
def test_what_is_no_journal_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_journal(text)


@pytest.mark.parametrize("quantity", ["much", "nan", "-5", "inf"])
def test_amounts_are_numbers(quantity: str) -> None:
    of_what = "<resource>service_module/memory_used</resource><reference>a</reference>"
    movement = f"<movement>{of_what}<quantity>{quantity}</quantity></movement>"
    dates = "<start_date>2026-05-04 00:00:00</start_date><stop_date>2026-05-04 23:59:59</stop_date>"
    with pytest.raises(InvalidInput):
        read_journal(f"<journal><transaction>{dates}{movement}</transaction></journal>")
