"""Monitor started partitions: run due promises, judge health, report."""

import logging
import threading
from collections.abc import Callable, Mapping

from slap.model.check import MachineCheck
from slap.model.node import InstanceReport
from slap.model.promise import PromiseResult
from slap.model.state import ReportedInstanceState
from slap.node.core.config import NodeConfig
from slap.node.core.scheduler import Requeue, delay
from slap.node.core.store import InstanceRecord, Store
from slap.node.partition.connection import Published, connection_of, read_published
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.health import GracePeriod, Verdict, judge
from slap.node.promise.runner import PromiseRunner, due_checks, limited, next_due
from slap.system import files
from slap.system.clock import Clock
from slap.system.supervisor import Supervisor

log = logging.getLogger(__name__)

# While a partition starts it is looked at again after this share of the time it took so far: soon at first, never often.
_EAGERNESS = 0.15
_SOONEST, _LATEST = 0.015, 2.0  # seconds
# What has failed for long is not asked each second; that a process starts or ends is told without asking.
_SELDOM = 60.0


class PartitionMonitor:
    """Remembers the last result of each promise; missing ones come from the store or a new run.

    `trouble` says of a partition what was ended in it because it took too much.
    """

    def __init__(
        self,
        config: NodeConfig,
        store: Store,
        supervisor: Supervisor,
        promises: PromiseRunner,
        clock: Clock,
    ) -> None:
        self._config = config
        self._store = store
        self._supervisor = supervisor
        self._promises = promises
        self._clock = clock
        self.trouble: Callable[[str], str] = lambda partition: ""
        self._lock = threading.Lock()
        self._results: dict[str, dict[str, PromiseResult]] = {}

    def forget(self, partition: str) -> None:
        """Forget a partition's results, so that all promises run again."""
        with self._lock:
            self._results[partition] = {}

    def check(self, folder: PartitionFolder, record: InstanceRecord) -> tuple[InstanceRecord, Requeue]:
        """Check a partition; returns the record with a new report, and when to check again."""
        processes = self._supervisor.processes(record.partition)
        results = self._sense(folder, record, max((each.started for each in processes), default=0.0))
        published = read_published(folder)
        in_grace = self._now() - record.unready_since < _grace(record, self._config.promise_grace)
        starting = not record.was_ready and record.failures == 0 and in_grace
        verdict = judge(
            record.installed, processes, results, GracePeriod(starting), lambda name: _last_words(folder, name)
        )
        for fault in filter(None, (published.fault, self.trouble(record.partition))):
            verdict = verdict.with_fault(fault)
        checked = self._apply(record, verdict, results, published)
        return checked, self._again(checked, verdict, results)

    def _sense(self, folder: PartitionFolder, record: InstanceRecord, changed: float) -> Mapping[str, PromiseResult]:
        """Run due promises. Results older than `changed`, the last start of a process, do not count."""
        known = {name: each for name, each in self._known(record).items() if each.at.timestamp() >= changed}
        checks = self._promises.as_learned(record.installed.checks)
        fine = record.was_ready and record.report.state is ReportedInstanceState.STARTED
        due = due_checks(checks, _times(known), self._now(), all_of_them=not fine)
        limit = self._config.promise_timeout
        new = self._promises.run(folder.place(), limited(due, limit), steady=fine) if due else ()
        self._remember(record.partition, known, new)
        return {name: result for name, result in self._known(record).items() if name in checks}

    def _known(self, record: InstanceRecord) -> dict[str, PromiseResult]:
        with self._lock:
            known = self._results.get(record.partition)
        if known is None:  # after a restart of ours: the newest of each promise
            known = {result.name: result for result in reversed(self._store.results(record.partition))}
            with self._lock:
                self._results[record.partition] = known
        return known

    def _remember(self, partition: str, known: Mapping[str, PromiseResult], new: tuple[PromiseResult, ...]) -> None:
        with self._lock:
            self._results[partition] = {**known, **{result.name: result for result in new}}
        if new:
            self._store.add_results(partition, new)

    def _apply(
        self,
        record: InstanceRecord,
        verdict: Verdict,
        results: Mapping[str, PromiseResult],
        published: Published,
    ) -> InstanceRecord:
        """The record with a new report. Promises are reported when an outcome changes."""
        report = InstanceReport(
            guid=record.guid,
            state=verdict.state,
            message=verdict.message,
            promises=_unchanged_or_new(record.report.promises, tuple(results[name] for name in sorted(results))),
            connection=connection_of(published, record),
            shared=record.shared,
        )
        update: dict[str, object] = {"report": report}
        if verdict.is_ready:
            update |= {"was_ready": True, "unready_since": 0.0, "failures": 0, "retry_at": 0.0}
        else:
            update["unready_since"] = record.unready_since or self._now()
            if verdict.dead and not record.retry_at:
                update["retry_at"] = self._now() + delay(record.failures + 1)
        return record.model_copy(update=update)

    def _again(self, record: InstanceRecord, verdict: Verdict, results: Mapping[str, PromiseResult]) -> Requeue:
        now = self._now()
        if verdict.is_ready:
            checks = self._promises.as_learned(record.installed.checks)
            return Requeue(next_due(checks, _times(results), now))
        pause = (now - record.unready_since) * _EAGERNESS
        if verdict.state is not ReportedInstanceState.ERROR:
            return Requeue(min(_LATEST, max(_SOONEST, pause)), content=False)
        retry = record.retry_at - now if record.retry_at > now else _SELDOM
        return Requeue(min(_SELDOM, retry, max(_LATEST, pause)))

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _grace(record: InstanceRecord, ordinary: float) -> float:
    """Seconds in which promises may fail after a start: the node's, or more for a machine."""
    machines = (each.grace for each in record.installed.checks.values() if isinstance(each, MachineCheck))
    return max(ordinary, *machines, 0.0)


def _times(results: Mapping[str, PromiseResult]) -> dict[str, float]:
    return {name: result.at.timestamp() for name, result in results.items()}


def _unchanged_or_new(before: tuple[PromiseResult, ...], now: tuple[PromiseResult, ...]) -> tuple[PromiseResult, ...]:
    same = [(each.name, each.passed, each.message) for each in before] == [
        (each.name, each.passed, each.message) for each in now
    ]
    return before if same else now


def _last_words(folder: PartitionFolder, program: str) -> str:
    """The end of a program's log, without lines that repeat at each restart."""
    lines = files.tail(folder.logs / f"{program}.log", 3).strip().splitlines()
    return "\n".join(dict.fromkeys(lines))
