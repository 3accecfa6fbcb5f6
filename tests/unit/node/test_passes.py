"""What a pass comes to, in SlapOS's exit statuses, and what it does again."""

from datetime import UTC, datetime
from typing import Any

import pytest

from slap.model.errors import SlapError
from slap.model.promise import PromiseResult
from slap.model.state import ReportedInstanceState
from slap.node.core.store import InstanceRecord
from slap.node.passes import Offline, PassOptions, PassResult, PromisesFail, forgotten, is_failure, promises_fail
from tests.unit.node.things import a_record, a_report

STARTED, STOPPED = ReportedInstanceState.STARTED, ReportedInstanceState.STOPPED
BUSY, ERROR = ReportedInstanceState.INSTANTIATING, ReportedInstanceState.ERROR


def result(passed: bool) -> PromiseResult:
    return PromiseResult(name="p", passed=passed, message="", at=datetime(2026, 1, 1, tzinfo=UTC), seconds=0)


def record(state: ReportedInstanceState, *, passed: bool = True, **changes: Any) -> InstanceRecord:
    report = a_report(state, promises=(result(passed),))
    return a_record(**({"applied": "digest", "report": report} | changes))


@pytest.mark.parametrize(
    ("seen", "failed", "promises"),
    [
        (record(STARTED), False, False),
        (record(STOPPED), False, False),
        (record(STOPPED, passed=False), False, False),  # its promises are of before
        (record(ERROR, passed=False), True, True),
        (record(BUSY, passed=False), False, True),  # it still starts, and the promise is why
        (record(ERROR), True, False),  # a service died, which no promise noticed
        (record(ERROR, passed=False, failed="other"), True, False),  # the change that was wanted failed
        (record(BUSY, applied=""), True, False),  # waits for its release, or for what it requested
        (record(BUSY, failed="other"), True, False),
        (record(BUSY), False, False),
    ],
)
def test_what_is_wrong_with_a_partition(seen: InstanceRecord, failed: bool, promises: bool) -> None:
    assert (is_failure(seen), promises_fail(seen)) == (failed, promises)


@pytest.mark.parametrize(
    ("came_to", "kind", "status"),
    [
        (PassResult(failures=("a: broken",), promises=("b: no",), offline="away"), SlapError, 1),
        (PassResult(unfinished=("a",), promises=("b: no",)), SlapError, 1),
        (PassResult(promises=("b: no",), offline="away"), PromisesFail, 2),
        (PassResult(offline="away"), Offline, 3),
    ],
)
def test_the_worst_decides_the_exit_status(came_to: PassResult, kind: type[SlapError], status: int) -> None:
    with pytest.raises(kind) as raised:
        came_to.check()
    assert raised.value.exit_code == status


def test_when_all_is_well_nothing_is_said() -> None:
    PassResult(by_agent=True).check()


@pytest.mark.parametrize(
    ("asked", "due", "applied", "failed"),
    [
        (PassOptions(1), False, "digest", "other"),
        (PassOptions(1), True, "", "other"),
        (PassOptions(1, only=frozenset({"slappart0"})), False, "digest", ""),  # who names it has mended it
        (PassOptions(1, force=True), False, "", ""),
    ],
)
def test_what_is_done_again(asked: PassOptions, due: bool, applied: str, failed: str) -> None:
    before = record(ERROR, failed="other", retry_at=99.0)
    after = forgotten(before, asked, due=due)
    assert (after.applied, after.failed, after.retry_at > 0) == (applied, failed, failed != "")
