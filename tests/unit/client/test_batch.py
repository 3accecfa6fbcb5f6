"""One element that a master refuses, or fails on, holds up no other."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slap.client.batch import MAX_BATCH_SIZE, MAX_CULPRITS, MAX_FAILURES, BatchSender
from slap.client.native import FailedWithoutReason
from slap.model.errors import Conflict, InvalidInput, SlapError, TooLarge, Unauthenticated, Unreachable

REFUSALS = [InvalidInput("no"), TooLarge("too large")]


class Receiver:
    """A master that answers a request with the error that `answer` gives for what is in it."""

    def __init__(self, answer: Callable[[Sequence[int]], SlapError | None]) -> None:
        self.answer = answer
        self.received: list[int] = []
        self.refused: list[int] = []
        self.requests = 0
        self.sender = BatchSender(self._send, lambda element, error: self.refused.append(element))

    def _send(self, elements: Sequence[int]) -> None:
        self.requests += 1
        if error := self.answer(elements):
            raise error
        self.received += elements

    def flush(self, elements: Sequence[int]) -> None:
        self.sender.send_all([each for each in elements if each not in (*self.received, *self.refused)])


def failing_on(*culprits: int, error: SlapError) -> Receiver:
    return Receiver(lambda elements: error if set(culprits) & set(elements) else None)


@given(st.integers(0, 60), st.sets(st.integers(0, 60), max_size=5), st.sampled_from(REFUSALS))
def test_all_but_the_culprits_are_received(count: int, culprits: set[int], error: SlapError) -> None:
    master = failing_on(*culprits, error=error)
    master.flush(range(count))
    assert master.received == [each for each in range(count) if each not in culprits]
    assert master.refused == sorted(each for each in culprits if each < count)


@pytest.mark.parametrize("error", [SlapError("incident"), FailedWithoutReason("incident")])
@pytest.mark.parametrize("culprits", [(0,), (499,), (500,), (3, 4), (0, 600)])
def test_a_master_that_fails_on_an_element_gets_all_others_after_some_tries(
    culprits: tuple[int, ...], error: SlapError
) -> None:
    master = failing_on(*culprits, error=error)
    for _ in range(MAX_FAILURES - 1):
        with pytest.raises(SlapError, match="incident"):
            master.flush(range(700))
    master.flush(range(700))
    assert sorted(master.received) == [each for each in range(700) if each not in culprits]
    assert master.refused == list(culprits)
    assert master.requests < 60


@pytest.mark.parametrize("error", [Unreachable("gone"), Unauthenticated("who?"), Conflict("not now")])
def test_what_is_not_about_elements_is_raised_however_often(error: SlapError) -> None:
    master = failing_on(1, error=error)
    for _ in range(2 * MAX_FAILURES):
        with pytest.raises(type(error)):
            master.flush(range(3))
    assert (master.refused, master.requests) == ([], 2 * MAX_FAILURES)


def test_a_master_that_fails_on_everything_is_spared() -> None:
    master = failing_on(*range(MAX_BATCH_SIZE), error=SlapError("incident"))
    for _ in range(MAX_FAILURES):
        with suppress(SlapError):
            master.flush(range(MAX_BATCH_SIZE))
    assert master.requests < MAX_FAILURES + 2 * MAX_CULPRITS + 20


def test_failures_that_pass_are_forgotten() -> None:
    errors: list[SlapError | None] = [SlapError("incident"), SlapError("incident"), None, SlapError("incident")]
    master = Receiver(lambda elements: errors.pop(0))
    for element in range(2):
        with pytest.raises(SlapError):
            master.flush([element])
    master.flush([2])
    with pytest.raises(SlapError):
        master.flush([3])
    assert master.refused == []
