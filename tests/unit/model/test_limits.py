"""Limits as people write them, what a request may say, and what an owner allows."""

import pytest

from slap.model.errors import InvalidInput
from slap.model.instance import Sla
from slap.model.node import DesiredInstance
from slap.model.resources.limits import Limits, read_limits, read_section
from slap.model.sla_filters import filters_from_sla, sla_from_filters
from tests.unit.node.things import an_instance

GIB = 1 << 30
TOTALS = {"memory": 8 * GIB, "disk": 100 * GIB}


def test_amounts_are_read_as_people_write_them() -> None:
    found = read_limits({"memory": "2GiB", "processes": "100", "cpu_weight": "50", "disk": "1.5 GiB"})
    assert found == Limits(memory=2 * GIB, processes=100, cpu_weight=50, disk=GIB * 3 // 2)


@pytest.mark.parametrize(
    "words",
    [
        {"memory": "much"}, {"memory": "-1"}, {"memory": "10 KiB"}, {"memory": "99999999999999T"}, {"memory": ""},
        {"processes": "0"}, {"processes": "1e9"}, {"processes": "99999999"}, {"descriptors": "1"},
        {"cpu_weight": "10001"}, {"io_weight": "0"}, {"colour": "red"}, {"memory\n": "1GiB"}, {"processes": "\x1b[2J"},
    ],
)  # fmt: skip
def test_what_is_no_limit_is_refused(words: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="cannot be requested"):
        read_limits(words)


def test_without_a_section_there_are_defaults_and_no_more_can_be_requested() -> None:
    defaults, bounds = read_section({}, TOTALS)
    assert defaults == bounds
    assert (defaults.memory, defaults.processes) == (6 * GIB, 2048)


def test_an_owner_says_other_defaults_and_how_much_can_be_requested() -> None:
    section = {"memory": "1GiB", "max_memory": "50%", "processes": "none", "max_disk": "none"}
    defaults, bounds = read_section(section, TOTALS)
    assert (defaults.memory, bounds.memory, defaults.processes, bounds.disk) == (GIB, 4 * GIB, None, None)


@pytest.mark.parametrize("section", [{"memroy": "1GiB"}, {"memory": "150%"}, {"max_processes": "all"}])
def test_mistakes_in_the_section_are_named(section: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        read_section(section, TOTALS)


@pytest.mark.parametrize(
    ("asked", "above"),
    [
        (Limits(), []),
        (Limits(memory=GIB), []),
        (Limits(memory=3 * GIB, processes=5), ["memory = 3 GiB, at most 2 GiB"]),
        (Limits(descriptors=1000), []),  # not bound
    ],
)
def test_what_is_above_the_bounds_is_told(asked: Limits, above: list[str]) -> None:
    assert asked.above(Limits(memory=2 * GIB, processes=10)) == above


def test_a_request_says_more_than_the_defaults() -> None:
    assert Limits(memory=GIB).over(Limits(memory=2 * GIB, processes=7)) == Limits(memory=GIB, processes=7)


def test_classic_filters_carry_limits_both_ways() -> None:
    sla = Sla(labels={"zone": "paris"}, limits=Limits(memory=2 * GIB, cpu_weight=50))
    filters = filters_from_sla(sla)
    assert filters == {"zone": "paris", "limit_memory": str(2 * GIB), "limit_cpu_weight": "50"}
    assert sla_from_filters(filters) == sla


def test_who_requests_no_limits_sends_nothing_that_an_older_side_does_not_know() -> None:
    assert "limits" not in Sla().model_dump_json()
    assert "limits" not in an_instance().model_dump_json()
    limited = an_instance(limits=Limits(memory=GIB))
    assert DesiredInstance.model_validate_json(limited.model_dump_json()) == limited
