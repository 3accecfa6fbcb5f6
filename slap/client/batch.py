"""Sending many elements in few requests to a master that may refuse one of them."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from slap.client.native import FailedWithoutReason
from slap.model.errors import InvalidInput, QuotaExceeded, SlapError, TooLarge

Element = TypeVar("Element")

# Elements in one request: what is larger than a master takes would never be received.
MAX_BATCH_SIZE = 500
# A master that fails so often in a row fails because of what it is sent, until the opposite is seen.
MAX_FAILURES = 3
# So many elements in a row, each alone in its request, that the master failed on: then it is the master that is broken.
MAX_CULPRITS = 8


class BatchSender(Generic[Element]):
    """Halves a batch that is refused until the culprit is alone, so that one element holds up no other.

    `send` sends a batch and remembers that it was received. `refuse` is called with a culprit and the master's reason.
    A master that is away, or that refuses the whole node, is no matter of elements: that error is raised, and all that
    was not sent yet waits.
    """

    def __init__(self, send: Callable[[Sequence[Element]], None], refuse: Callable[[Element, SlapError], None]) -> None:
        self._send = send
        self._refuse = refuse
        self._failures = 0
        self._culprits = 0

    def send_all(self, elements: Sequence[Element]) -> None:
        """Send everything, or raise why the rest must wait."""
        failures = self._failures
        self._culprits = 0
        for start in range(0, len(elements), MAX_BATCH_SIZE):
            self._send_batch(elements[start : start + MAX_BATCH_SIZE])
        if elements and self._failures == failures:
            self._failures = 0

    def _send_batch(self, elements: Sequence[Element]) -> None:
        try:
            self._send(elements)
        except SlapError as error:
            if not self._is_about_elements(error):
                raise
            self._divide(elements, error)
        else:
            self._culprits = 0

    def _divide(self, elements: Sequence[Element], error: SlapError) -> None:
        middle = len(elements) // 2
        if middle:
            self._send_batch(elements[:middle])
            self._send_batch(elements[middle:])
            return
        self._culprits += 1
        if is_failure_of_master(error) and self._culprits > MAX_CULPRITS:
            raise error
        self._refuse(elements[0], error)

    def _is_about_elements(self, error: SlapError) -> bool:
        if is_failure_of_master(error):
            self._failures += 1
            return self._failures >= MAX_FAILURES
        return is_about_elements(error)


def is_about_elements(error: SlapError) -> bool:
    """Whether a request was refused for what is in it, or may have failed because of that."""
    return isinstance(error, InvalidInput | TooLarge | QuotaExceeded) or is_failure_of_master(error)


def is_failure_of_master(error: SlapError) -> bool:
    """Whether a master answered that it failed, as it does on what nobody foresaw. One that is away is another matter."""
    return error.kind == SlapError.kind or isinstance(error, FailedWithoutReason)
