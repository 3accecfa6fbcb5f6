"""The next step in a partition, from what is wanted and what is seen."""

from typing import Any

import pytest

from slap.model.errors import CommandFailed, SlapError
from slap.model.state import InstanceState, ReportedInstanceState
from slap.node.core.scheduler import Requeue
from slap.node.core.store import Installed
from slap.node.partition.reconciler import Observation, Reconciler, Step, decide, digest_of
from slap.system.supervisor import ProcessInfo, ProcessState
from tests.unit.node.things import a_record, a_report, an_instance

STARTED, STOPPED, DESTROYED = InstanceState
SERVES = Installed(services={"web": "1"})
DEAD = (ProcessInfo("web", ProcessState.FATAL),)


def seen(record: Any = None, **changes: Any) -> Observation:
    known: dict[str, Any] = {"digest": "d", "configured": True, "supervised": True, "processes": (), "now": 100.0}
    return Observation(record, **(known | changes))


def reported(state: str, **changes: Any) -> Any:
    return a_record(report=a_report(ReportedInstanceState(state)), **changes)


@pytest.mark.parametrize(
    ("state", "found", "step"),
    [
        # what another instance left goes first, whatever is wanted
        (STARTED, seen(a_record(guid="INST-0")), Step.CLEAR),
        (STOPPED, seen(a_record(guid="INST-0")), Step.CLEAR),
        (DESTROYED, seen(a_record(guid="INST-0")), Step.CLEAR),
        (DESTROYED, seen(), Step.DESTROY),
        (DESTROYED, seen(reported("started")), Step.DESTROY),
        (DESTROYED, seen(reported("error")), Step.DESTROY),
        (DESTROYED, seen(reported("destroyed")), Step.REST),
        (STOPPED, seen(), Step.STOP),
        (STOPPED, seen(reported("started")), Step.STOP),
        (STOPPED, seen(reported("stopped")), Step.STOP),  # cut off before supervisord forgot it
        (STOPPED, seen(reported("stopped"), supervised=False), Step.REST),
        (STARTED, seen(digest=""), Step.WAIT_FOR_SOFTWARE),
        (STARTED, seen(a_record(applied="d"), digest=""), Step.WAIT_FOR_SOFTWARE),
        (STARTED, seen(full="full"), Step.HOLD),
        (STARTED, seen(reported("error"), full="full", supervised=False), Step.HOLD),  # an error of another kind
        (STARTED, seen(a_record(report=a_report(message="full")), full="full", supervised=False), Step.REST),
        (STOPPED, seen(reported("started"), full="full"), Step.STOP),
        (DESTROYED, seen(full="full"), Step.DESTROY),
        (STARTED, seen(), Step.INSTANTIATE),
        (STARTED, seen(a_record()), Step.INSTANTIATE),
        (STARTED, seen(a_record(applied="c")), Step.INSTANTIATE),
        (STARTED, seen(a_record(failed="d", retry_at=101.0)), Step.WAIT_TO_RETRY),
        (STARTED, seen(a_record(failed="d", retry_at=100.0)), Step.INSTANTIATE),
        (STARTED, seen(a_record(failed="c", retry_at=101.0)), Step.INSTANTIATE),  # it was mended
        (STARTED, seen(a_record(applied="d"), configured=False), Step.START),
        (STARTED, seen(a_record(applied="d")), Step.CHECK),
        (STARTED, seen(reported("stopped", applied="d"), configured=False, supervised=False), Step.START),
        (STARTED, seen(a_record(applied="d", installed=SERVES), processes=DEAD), Step.CHECK),
        (STARTED, seen(a_record(applied="d", installed=SERVES, retry_at=101.0), processes=DEAD), Step.CHECK),
        (STARTED, seen(a_record(applied="d", installed=SERVES, retry_at=99.0), processes=DEAD), Step.REVIVE),
        (STARTED, seen(a_record(applied="d", installed=SERVES, retry_at=99.0)), Step.CHECK),
    ],
)
def test_the_next_step(state: InstanceState, found: Observation, step: Step) -> None:
    assert decide(an_instance(state=state), found) is step


SHARED: dict[str, Any] = {"guid": "INST-9", "reference": "page", "root_reference": "page", "software_type": "default"}
SHARED |= {"parameters": {}, "state": "started", "revision": 3}


@pytest.mark.parametrize(
    ("change", "counts"),
    [({"parameters": {"a": 1}}, True), ({"state": "stopped"}, True), ({"revision": 4}, False)],
)
def test_an_instantiation_depends_on_what_it_serves(change: dict[str, Any], counts: bool) -> None:
    before = digest_of(an_instance(shared=[SHARED]), "f", ())
    assert (digest_of(an_instance(shared=[{**SHARED, **change}]), "f", ()) != before) is counts


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"parameters": {"a": 1}}, True),
        ({"software_type": "other"}, True),
        ({"software_release": "/other/software.cfg"}, True),
        ({"bang": 1}, True),
        ({"children": 1}, True),
        ({"guid": "INST-2"}, True),
        ({"state": STOPPED}, False),
        ({"token": "another"}, False),
        ({"shared": [{**SHARED, "revision": 9}]}, True),
    ],
)
def test_an_instantiation_depends_on_what_was_ordered(change: dict[str, Any], counts: bool) -> None:
    before = digest_of(an_instance(), "f", ("127.0.0.2",))
    assert (digest_of(an_instance(**change), "f", ("127.0.0.2",)) != before) is counts


def test_an_instantiation_depends_on_the_release_and_on_addresses() -> None:
    digests = {digest_of(an_instance(), release, where) for release in "ab" for where in ((), ("1",), ("1", "2"))}
    assert len(digests) == 6


class Taken:
    """Steps that are only noted; `looks` are what is seen, one after the other."""

    def __init__(self, *looks: Observation | SlapError) -> None:
        self.looks = list(looks)
        self.steps: list[Step] = []
        self.failures: list[object] = []

    def once(self) -> Requeue:
        table = {step: lambda desired, step=step: self._take(step) for step in Step}
        return Reconciler(lambda name: an_instance(), self._look, table, self._fail).once("slappart0")

    def _look(self, desired: object) -> Observation:
        look = self.looks.pop(0)
        if isinstance(look, SlapError):
            raise look
        return look

    def _take(self, step: Step) -> Requeue | None:
        self.steps.append(step)
        return Requeue(7.0) if step is Step.CHECK else None

    def _fail(self, desired: object, error: object) -> Requeue:
        self.failures.append(error)
        return Requeue(3.0)


def test_steps_follow_each_other_until_there_is_nothing_left_to_do() -> None:
    world = Taken(seen(), seen(a_record(applied="d"), configured=False), seen(a_record(applied="d")))
    assert world.once() == Requeue(7.0)
    assert world.steps == [Step.INSTANTIATE, Step.START, Step.CHECK]


def test_a_step_that_cannot_be_taken_ends_the_round() -> None:
    world = Taken(seen(), CommandFailed("no"))
    assert world.once() == Requeue(3.0)
    assert [str(each) for each in world.failures] == ["no"]
