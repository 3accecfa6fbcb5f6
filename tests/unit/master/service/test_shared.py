"""What the report of a host says of the shared instances that it serves."""

from dataclasses import dataclass

import pytest

from slap.master.service.shared import derive
from slap.model.node import InstanceReport
from slap.model.state import ReportedInstanceState


@dataclass
class Page:
    """A shared instance, requested at revision 5."""

    requested: str = "started"
    reported: str = ""
    reported_revision: int = 0
    revision: int = 5


def _report(state: str, revision: int = 5) -> InstanceReport:
    return InstanceReport(guid="INST-1", state=ReportedInstanceState(state), revision=revision, message="it burns")


@pytest.mark.parametrize("state", ["instantiating", "started", "stopped", "error"])
def test_a_host_that_was_not_told_yet_says_nothing(state: str) -> None:
    assert derive(Page(), "web", _report(state, revision=4)) is None


@pytest.mark.parametrize(
    ("host", "requested", "reported", "message"),
    [
        ("started", "started", "started", ""),
        ("started", "stopped", "stopped", ""),
        ("started", "destroyed", "destroyed", ""),
        ("error", "started", "error", "web, which serves it: it burns"),
        ("error", "destroyed", "error", "web, which serves it: it burns"),
        ("stopped", "started", "error", "web, which serves it, is stopped."),
        ("stopped", "stopped", "stopped", ""),
        ("stopped", "destroyed", "destroyed", ""),
        ("instantiating", "started", "instantiating", "web is about to serve it."),
    ],
)
def test_it_is_as_its_host_is(host: str, requested: str, reported: str, message: str) -> None:
    assert derive(Page(requested=requested), "web", _report(host, 7)) == (reported, message, 7)


@pytest.mark.parametrize("requested", ["stopped", "destroyed"])
def test_a_host_under_way_says_nothing_of_what_is_to_end(requested: str) -> None:
    assert derive(Page(requested=requested, reported="started"), "web", _report("instantiating")) is None


def test_a_host_under_way_because_of_others_leaves_it_as_it_is() -> None:
    assert derive(Page(reported="started", reported_revision=5), "web", _report("instantiating", 9)) is None


def test_what_its_host_is_destroyed_under_is_gone_or_in_error_whatever_the_revision() -> None:
    gone = derive(Page(requested="destroyed"), "web", _report("destroyed", 1))
    assert gone == ("destroyed", "", 5)
    left = derive(Page(reported="started"), "web", _report("destroyed", 1))
    assert left is not None
    assert (left.reported, left.reported_revision) == ("error", 5)
