"""SlapOS's filters and ours say the same."""

import pytest

from slap.model.errors import InvalidInput
from slap.model.instance import Sla, Spread
from slap.model.sla_filters import filters_from_sla, sla_from_filters


def test_what_slapos_names_has_its_field() -> None:
    filters = {
        "computer_guid": "COMP-1",
        "network_guid": "NET-1",
        "instance_guid": "INST-1",
        "capability": "gpu, ssd",
        "mode": "unique_by_network",
        "retention_delay": "2.5",
    }
    assert sla_from_filters(filters) == Sla(
        computer="COMP-1",
        network="NET-1",
        instance="INST-1",
        capabilities=frozenset({"gpu", "ssd"}),
        spread=Spread.BY_NETWORK,
        retention=2.5,
    )


def test_any_other_filter_is_a_label_that_must_match() -> None:
    filters = {"region": "europe/france", "group_id": "3", "project_guid": "PROJ-1", "cpu_core": 8}
    expected = {"region": "europe/france", "group_id": "3", "project_guid": "PROJ-1", "cpu_core": "8"}
    assert sla_from_filters(filters).labels == expected


@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_empty_filter_asks_for_nothing(value: str | None) -> None:
    assert sla_from_filters({"computer_guid": value, "region": value}) == Sla()


def test_a_mode_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidInput, match="unique_by_moon") as caught:
        sla_from_filters({"mode": "unique_by_moon"})
    assert "unique_by_computer, unique_by_network" in caught.value.details


@pytest.mark.parametrize("value", ["a week", "-1", "nan", "inf"])
def test_retention_is_a_number_of_days(value: str) -> None:
    with pytest.raises(InvalidInput, match="retention_delay"):
        sla_from_filters({"retention_delay": value})


def test_there_and_back() -> None:
    filters = {
        "computer_guid": "A",
        "capability": "gpu ssd",
        "mode": "unique_by_computer",
        "retention_delay": "2",
        "x": "y",
    }
    assert filters_from_sla(sla_from_filters(filters)) == filters
    assert filters_from_sla(Sla()) == {}


def test_who_sent_an_order_on_filters_nothing() -> None:
    assert sla_from_filters({"source_instance_id": "slappart0_front"}) == Sla()
