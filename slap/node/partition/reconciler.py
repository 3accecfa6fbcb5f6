"""Decide the steps of a partition from desired and observed state, and take them one by one."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

from slap.model.errors import SlapError
from slap.model.node import DesiredInstance, InstanceReport
from slap.model.state import InstanceState, ReportedInstanceState
from slap.node.core.scheduler import Requeue
from slap.node.core.store import InstanceRecord
from slap.node.partition.health import is_given_up
from slap.system.supervisor import ProcessInfo

log = logging.getLogger(__name__)


class Step(StrEnum):
    """The next step in a partition."""

    CLEAR = "clear"  # what another instance left
    DESTROY = "destroy"
    STOP = "stop"
    HOLD = "hold"  # what takes more disk than it may
    WAIT_FOR_SOFTWARE = "wait for software"
    INSTANTIATE = "instantiate"
    WAIT_TO_RETRY = "wait to retry"
    START = "start"
    REVIVE = "revive"  # what supervisord gave up on
    CHECK = "check"
    REST = "rest"


@dataclass(frozen=True)
class Observation:
    """The observed state of a partition.

    `digest` is of all that an instantiation depends on, empty while the release is not there; `configured` is whether
    supervisord's configuration of the partition is the one that the record wants; `full` says how its disk is full.
    """

    record: InstanceRecord | None
    digest: str
    configured: bool
    supervised: bool
    processes: tuple[ProcessInfo, ...]
    now: float
    full: str = ""


def decide(desired: DesiredInstance, seen: Observation) -> Step:
    """The next step; decide again after each, until it is CHECK, REST or a WAIT."""
    record = seen.record
    if record and record.guid != desired.guid:
        return Step.CLEAR
    if desired.state is InstanceState.DESTROYED:
        return Step.REST if _reported(record, ReportedInstanceState.DESTROYED) else Step.DESTROY
    if desired.state is InstanceState.STOPPED:
        stopped = _reported(record, ReportedInstanceState.STOPPED) and not seen.supervised
        return Step.REST if stopped else Step.STOP
    return _decide_start(record, seen)


def digest_of(desired: DesiredInstance, fingerprint: str, addresses: tuple[str, ...]) -> str:
    """A digest of all that an instantiation depends on. The state is left out: start and stop run no buildout."""
    text = desired.model_dump_json(exclude=_NOT_INSTANTIATED)
    return sha256("\0".join((text, fingerprint, *addresses)).encode()).hexdigest()


_NOT_INSTANTIATED: Any = {
    "state": True,
    "revision": True,
    "token": True,
    "limits": True,
    "shared": {"__all__": {"revision"}},
}


class Reconciler:
    """Takes steps in one partition until there is nothing left to do for now."""

    def __init__(
        self,
        desired_in: Callable[[str], DesiredInstance | None],
        look: Callable[[DesiredInstance], Observation],
        steps: Mapping[Step, Callable[[DesiredInstance], Requeue | None]],
        fail: Callable[[DesiredInstance, SlapError | OSError], Requeue],
    ) -> None:
        self._desired_in = desired_in
        self._look = look
        self._steps = steps
        self._fail = fail

    def once(self, partition: str) -> Requeue:
        """Take steps until one returns when to look again; after any other, observe the partition again."""
        while True:
            desired = self._desired_in(partition)
            if desired is None:
                return Requeue(86400.0)
            again = self._take_step(desired)
            if again is not None:
                return again

    def next_step(self, partition: str) -> Step | None:
        """The step that `once` would take first; None when no instance is wanted."""
        desired = self._desired_in(partition)
        return decide(desired, self._look(desired)) if desired else None

    def _take_step(self, desired: DesiredInstance) -> Requeue | None:
        try:
            return self._steps[decide(desired, self._look(desired))](desired)
        except (SlapError, OSError) as error:
            return self._fail(desired, error)


def fresh_record(desired: DesiredInstance, report: InstanceReport | None = None) -> InstanceRecord:
    """The record of a new instance."""
    return InstanceRecord(
        partition=desired.partition,
        guid=desired.guid,
        report=report or InstanceReport(guid=desired.guid, state=ReportedInstanceState.NONE),
    )


def _decide_start(record: InstanceRecord | None, seen: Observation) -> Step:
    if not seen.digest:
        return Step.WAIT_FOR_SOFTWARE
    if seen.full:
        is_held = not seen.supervised and record is not None and record.report.message == seen.full
        return Step.REST if is_held else Step.HOLD
    if record is None or record.applied != seen.digest:
        waits = record is not None and record.failed == seen.digest and seen.now < record.retry_at
        return Step.WAIT_TO_RETRY if waits else Step.INSTANTIATE
    if not seen.configured:
        return Step.START
    given_up = any(is_given_up(record.installed, process) for process in seen.processes)
    return Step.REVIVE if given_up and 0 < record.retry_at <= seen.now else Step.CHECK


def _reported(record: InstanceRecord | None, state: ReportedInstanceState) -> bool:
    return record is not None and record.report.state is state
