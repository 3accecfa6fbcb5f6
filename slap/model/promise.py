"""Promises: the small checks that decide whether a service is healthy."""

from datetime import datetime

from slap.model.base import Frozen
from slap.model.values import Amount, Line, Message


class PromiseResult(Frozen):
    """One run of one promise, in the promise's own words."""

    name: Line
    passed: bool
    message: Message = ""
    at: datetime
    seconds: Amount = 0.0  # how long the run took
