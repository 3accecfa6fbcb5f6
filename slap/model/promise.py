"""Promises: the small checks that decide whether a service is healthy."""

from datetime import datetime

from slap.model.base import Frozen


class PromiseResult(Frozen):
    """One run of one promise, in the promise's own words."""

    name: str
    passed: bool
    message: str = ""
    at: datetime
    seconds: float = 0.0  # how long the run took
