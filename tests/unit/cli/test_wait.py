"""What is said of a tree while it is waited for, and when the waiting is over."""

from datetime import timedelta
from typing import Any

import pytest

from slap.cli.order.wait import Mark, Order, describe, failed, is_over, make_order, news, phase, summary, unbuildable
from slap.model.instance import Instance
from slap.model.promise import PromiseResult
from tests.unit.cli.fakes import START, a_tree, an_instance, started

FAILING = (PromiseResult(name="url", passed=False, message="refused", at=START),)
LATER = START + timedelta(seconds=5)


def changed_order(before: Instance, *children: Instance) -> Order:
    """An order that changed a parameter of an instance."""
    accepted = before.model_copy(update={"parameters": {"port": 1}, "changed_at": START + timedelta(seconds=1)})
    return make_order(before, accepted, a_tree(before, *children))


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


def test_a_new_order_is_over_when_the_whole_tree_is_started() -> None:
    order = make_order(None, an_instance(), None)
    child = an_instance(guid="INST-2", root="INST-1", requester="INST-1")
    assert order.changed
    assert not is_over(order, a_tree(an_instance()))
    assert not is_over(order, a_tree(started(), child))
    assert is_over(order, a_tree(started(), child.model_copy(update={"reported": started().reported})))


def test_an_order_that_changes_nothing_believes_what_is_known() -> None:
    order = make_order(started(), started(), a_tree(started()))
    assert not order.changed
    assert is_over(order, a_tree(started()))


def test_started_from_before_a_change_is_not_an_answer_to_it() -> None:
    order = changed_order(started())
    assert not is_over(order, a_tree(order.accepted))
    assert phase(order.accepted, order.is_fresh(order.accepted))[1].startswith("waiting for")
    assert is_over(order, a_tree(order.accepted.model_copy(update={"changed_at": LATER})))


def test_stopping_is_over_once_it_is_stopped_whatever_else_was_changed() -> None:
    stopped = an_instance(requested="stopped", reported="stopped")
    assert is_over(changed_order(stopped), a_tree(changed_order(stopped).accepted))


def test_an_error_from_before_the_order_is_not_believed_and_a_new_one_is() -> None:
    order = changed_order(an_instance(reported="error", message="exit 1"))
    assert failed(order, a_tree(order.accepted)) is None
    again = order.accepted.model_copy(update={"changed_at": LATER})
    assert failed(order, a_tree(again)) == again


def test_an_old_error_of_a_child_is_not_believed_because_its_parent_asked_for_something_else() -> None:
    child = an_instance(guid="INST-2", root="INST-1", requester="INST-1", reported="error", message="bad port")
    order = changed_order(started(), child)
    asked_anew = child.model_copy(update={"changed_at": LATER})
    assert failed(order, a_tree(order.accepted, asked_anew)) is None


def test_a_child_that_was_seen_at_work_since_is_believed_when_it_fails_as_before() -> None:
    child = an_instance(guid="INST-2", root="INST-1", requester="INST-1", reported="error", message="bad port")
    order = changed_order(started(), child)
    at_work = child.model_copy(update={"reported": started().reported})
    order = order.after(a_tree(order.accepted, at_work))
    assert failed(order, a_tree(order.accepted, child)) == child


def test_a_release_that_cannot_be_built_ends_the_waiting_unless_the_service_is_to_go() -> None:
    broken = an_instance(software="error", software_message="no gcc")
    assert unbuildable(a_tree(broken)) == broken
    assert (
        unbuildable(a_tree(broken.model_copy(update={"requested": an_instance(requested="destroyed").requested})))
        is None
    )


def test_children_are_shown_below_their_parents_and_only_news_are_told() -> None:
    child = an_instance(guid="INST-2", root="INST-1", requester="INST-1", reference="db")
    before = describe(None, a_tree(started(), child))
    after = describe(None, a_tree(started(), child.model_copy(update={"message": "x", "reported": started().reported})))
    assert [(line.name, line.depth) for line in before] == [("hello", 0), ("db", 1)]
    assert [line.name for line in news(before, after)] == ["db"]
    assert list(news(after, after)) == []
