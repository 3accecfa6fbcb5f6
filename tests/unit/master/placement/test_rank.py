"""Where an instance goes, and why it goes nowhere."""

import pytest

from slap.master.placement.rank import Candidate, Occupied, cannot_be_placed, rank, sla_refusals
from slap.model.instance import Sla, Spread

PARIS = Candidate("COMP-1", "paris", 4, {"zone": "paris", "disk": "ssd"}, frozenset({"kvm", "ipv6"}), "lan")


@pytest.mark.parametrize(
    ("sla", "refusals"),
    [
        (Sla(), ()),
        (Sla(computer="COMP-1"), ()),
        (Sla(computer="paris", network="lan", labels={"zone": "paris"}, capabilities=frozenset({"kvm"})), ()),
        (Sla(computer="rome"), ("is not rome",)),
        (Sla(network="wan"), ("is in network lan, not in wan",)),
        (Sla(labels={"zone": "rome"}), ("has label zone=paris, not rome",)),
        (Sla(labels={"rack": "1"}), ("has no label rack",)),
        (Sla(capabilities=frozenset({"root", "gpu", "kvm"})), ("lacks capability gpu", "lacks capability root")),
        (Sla(computer="rome", network="wan"), ("is not rome", "is in network lan, not in wan")),
    ],
)
def test_a_computer_is_refused_for_each_thing_that_it_is_not(sla: Sla, refusals: tuple[str, ...]) -> None:
    assert sla_refusals(PARIS, sla) == refusals


@pytest.mark.parametrize(
    ("spread", "occupied", "refusals"),
    [
        (Spread.NONE, Occupied(frozenset({"COMP-1"}), frozenset({"lan"})), ()),
        (Spread.BY_COMPUTER, Occupied(frozenset({"COMP-2"}), frozenset({"lan"})), ()),
        (Spread.BY_COMPUTER, Occupied(frozenset({"COMP-1"})), ("has another instance of this tree",)),
        (Spread.BY_NETWORK, Occupied(frozenset({"COMP-1"}), frozenset({"wan"})), ()),
        (
            Spread.BY_NETWORK,
            Occupied(frozenset(), frozenset({"lan"})),
            ("network lan has another instance of this tree",),
        ),
    ],
)
def test_instances_that_are_spread_keep_away_from_each_other(
    spread: Spread, occupied: Occupied, refusals: tuple[str, ...]
) -> None:
    assert sla_refusals(PARIS, Sla(spread=spread), occupied) == refusals


def test_a_computer_without_a_network_is_away_from_nobody() -> None:
    assert sla_refusals(_computer("A", 1), Sla(spread=Spread.BY_NETWORK)) == ("is in no network",)


def _computer(guid: str, free: int, is_supplied: bool = True) -> Candidate:
    return Candidate(guid, guid.lower(), free, {}, frozenset(), "", is_supplied)


def test_the_emptiest_comes_first_then_the_name_and_the_unfit_last() -> None:
    ranked = rank(
        [_computer("D", 0), _computer("C", 9, False), _computer("B", 2), _computer("A", 2), _computer("E", 5)], Sla()
    )
    assert [(each.computer, each.refusals) for each in ranked] == [
        ("E", ()),
        ("A", ()),
        ("B", ()),
        ("C", ("does not have the software release",)),
        ("D", ("has no free partition",)),
    ]


@pytest.mark.parametrize(
    ("candidates", "details", "resolution"),
    [
        ([], "There is no computer.", "slapos node register"),
        ([_computer("A", 0)], "a (A): has no free partition", "free a partition"),
        ([_computer("A", 1, False)], "a (A): does not have the software release", "slapos supply URL"),
    ],
)
def test_an_instance_without_a_place_says_why_and_what_to_do(
    candidates: list[Candidate], details: str, resolution: str
) -> None:
    error = cannot_be_placed("mine", "URL", rank(candidates, Sla()))
    assert (error.exit_code, error.details) == (4, details)
    assert resolution in error.resolution
