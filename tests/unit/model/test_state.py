"""Which states may follow which, and what people are shown."""

from typing import TypeVar

import pytest
from pydantic import ValidationError

from slap.model.node import InstanceReport, SupplyReport
from slap.model.state import InstanceState, ReportedInstanceState, Status, derive_status

State = TypeVar("State", InstanceState, ReportedInstanceState)

STARTED, STOPPED, DESTROYED = InstanceState
TABLE = {
    # reported:      started      stopped       destroyed    are requested
    "": ("waiting", "stopping", "destroying"),
    "instantiating": ("starting", "stopping", "destroying"),
    "started": ("started", "stopping", "destroying"),
    "stopped": ("starting", "stopped", "destroying"),
    "error": ("error", "error", "error"),
    "destroyed": ("destroyed", "destroyed", "destroyed"),
    "unknown": ("unknown", "unknown", "unknown"),
}
CASES = [
    (requested, ReportedInstanceState(reported), Status(status))
    for reported, row in TABLE.items()
    for requested, status in zip(InstanceState, row, strict=True)
]


@pytest.mark.parametrize(("requested", "reported", "status"), CASES)
def test_status_is_derived_from_both_states(
    requested: InstanceState, reported: ReportedInstanceState, status: Status
) -> None:
    assert derive_status(requested, reported) is status


def test_the_table_names_every_pair() -> None:
    assert len({case[:2] for case in CASES}) == len(InstanceState) * len(ReportedInstanceState)


def test_only_what_was_seen_is_called_done() -> None:
    for requested, reported, status in CASES:
        if status.is_settled:
            assert reported.value == status.value, (requested, reported)


@pytest.mark.parametrize("kind", [InstanceState, ReportedInstanceState])
def test_destroyed_is_final_and_all_else_is_free(kind: type[State]) -> None:
    final = kind("destroyed")
    for old in kind:
        for new in kind:
            assert old.may_become(new) is (old is not final or new is final), (old, new)


@pytest.mark.parametrize("word", ["runing", "Started", "", " started"])
def test_a_misspelt_state_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="not a valid InstanceState"):
        InstanceState(word)


def test_a_node_knows_what_it_sees() -> None:
    """Only those who are not told are left with `unknown`."""
    for kind, names in ((InstanceReport, {"guid": "INST-1"}), (SupplyReport, {"url": "/r"})):
        with pytest.raises(ValidationError, match="cannot report"):
            kind(**names, state="unknown")
