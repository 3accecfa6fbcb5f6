"""What is said of a tree while it is waited for, and when the waiting is over."""

from typing import Any

import pytest

from slap.cli.order.wait import Mark, describe, failed, make_order, news, phase, summary, unbuildable
from slap.model.promise import PromiseResult
from tests.unit.cli.fakes import START, a_tree, an_instance, started

FAILING = (PromiseResult(name="url", passed=False, message="refused", at=START),)


@pytest.mark.parametrize(
    ("changes", "mark", "text"),
    [
        ({}, Mark.WAITING, "placed on COMP-1/slappart0, waiting for the node"),
        ({"software": "building"}, Mark.WORKING, "building its software"),
        (
            {"software": "building", "software_message": "\npart 3 of 9"},
            Mark.WORKING,
            "building its software: part 3 of 9",
        ),
        ({"software": "error", "software_message": "no gcc"}, Mark.FAILED, "its software could not be built: no gcc"),
        ({"reported": "instantiating"}, Mark.WORKING, "instantiating"),
        ({"reported": "instantiating", "message": "Waits for db."}, Mark.WORKING, "instantiating: Waits for db."),
        ({"reported": "instantiating", "promises": FAILING}, Mark.WORKING, "instantiating: Promise url: refused"),
        ({"reported": "started"}, Mark.DONE, "started on COMP-1/slappart0"),
        ({"reported": "started", "software": "error"}, Mark.DONE, "started on COMP-1/slappart0"),
        ({"reported": "error", "message": "exit 1\nmore"}, Mark.FAILED, "exit 1"),
        ({"reported": "error"}, Mark.FAILED, "no reason was given"),
        ({"requested": "stopped", "reported": "started"}, Mark.WORKING, "stopping"),
        ({"requested": "destroyed", "software": "error"}, Mark.WORKING, "destroying"),
    ],
)
def test_each_state_has_its_words(changes: dict[str, Any], mark: Mark, text: str) -> None:
    assert phase(an_instance(**changes)) == (mark, text)


def test_a_list_says_nothing_of_what_is_as_requested() -> None:
    assert summary(started()) == ""
    assert summary(an_instance(reported="error", message="exit 1")) == "exit 1"


def test_waiting_is_over_when_the_whole_tree_is_started() -> None:
    child = an_instance(guid="INST-2", root="INST-1", requester="INST-1")
    assert not a_tree(an_instance()).is_settled
    assert not a_tree(started(), child).is_settled
    assert a_tree(started(), child.model_copy(update={"reported": started().reported})).is_settled


@pytest.mark.parametrize("reported", ["started", "error"])
def test_a_report_from_before_the_last_change_is_no_answer_to_it(reported: str) -> None:
    leftover = an_instance(reported=reported, message="exit 1", is_current=False)
    assert not a_tree(leftover).is_settled
    assert failed(a_tree(leftover)) is None
    assert phase(leftover)[1].startswith("waiting for")


def test_an_order_knows_whether_it_changes_anything() -> None:
    assert make_order(None, started()).is_new
    assert not make_order(started(), started()).changed
    assert make_order(started(), started().model_copy(update={"parameters": {"port": 1}})).changed


def test_a_release_that_cannot_be_built_ends_the_waiting_unless_the_service_is_to_go() -> None:
    broken = an_instance(software="error", software_message="no gcc")
    assert unbuildable(a_tree(broken)) == broken
    assert (
        unbuildable(a_tree(broken.model_copy(update={"requested": an_instance(requested="destroyed").requested})))
        is None
    )


def test_children_are_shown_below_their_parents_and_only_news_are_told() -> None:
    child = an_instance(guid="INST-2", root="INST-1", requester="INST-1", reference="db")
    before = describe(a_tree(started(), child))
    after = describe(a_tree(started(), child.model_copy(update={"message": "x", "reported": started().reported})))
    assert [(line.name, line.depth) for line in before] == [("hello", 0), ("db", 1)]
    assert [line.name for line in news(before, after)] == ["db"]
    assert list(news(after, after)) == []
