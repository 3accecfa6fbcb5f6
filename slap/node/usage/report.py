"""Measure and report usage while the agent runs."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from slap.client.batch import BatchSender
from slap.client.master import Master
from slap.model.errors import NotOffered, SlapError
from slap.model.node import DesiredInstance
from slap.model.tioxml import write_journal
from slap.model.usage import UsageReport, UsageSeries
from slap.node.usage.collect import EVERY, Collector
from slap.node.usage.store import UsageStore

log = logging.getLogger(__name__)

# Looks between two reports to the master: what is told seldom costs it little.
_LOOKS = 5


class UsageMaster:
    """Reports usage to the master, over a connection of the calling thread."""

    def __init__(self, master: Callable[[], Master], computer: str) -> None:
        self._master = master
        self._computer = computer

    def tell(self, report: UsageReport) -> None:
        self._master().report_usage(self._computer, report)

    def tell_day(self, day: datetime, series: tuple[UsageSeries, ...]) -> None:
        self._master().report_journal(self._computer, write_journal(self._computer, day, series))


class UsageReporter:
    """Measures usage each minute, and reports it every few minutes."""

    def __init__(
        self,
        collector: Collector,
        store: UsageStore,
        instances: Callable[[], Iterable[DesiredInstance]],
        master: UsageMaster,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._collector = collector
        self._store = store
        self._instances = instances
        self._master = master
        self._now = now
        self._series = BatchSender(self._send_series, self._refuse_series)
        self._days = BatchSender(self._send_day, self._refuse_day)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Measure and report until `stop`; errors are logged, and retried the next time."""
        looks = 0
        while not self._stopped.wait(EVERY):
            looks += 1
            try:
                self._collector.once(self._instances())
                if looks % _LOOKS == 0:
                    self.report()
            except (SlapError, OSError) as error:
                log.warning("What partitions use was not measured or told: %s", error)

    def report(self) -> int:
        """Report what the master does not have; returns how many instances that were.

        One that takes only TioXML is told of whole days, once they are over.
        """
        try:
            untold = self._store.untold()
            self._series.send_all(untold)
            return len(untold)
        except NotOffered:
            # Day by day, so that a day that is refused holds up no other.
            days = self._store.untold_days(self._now())
            for day in days:
                self._days.send_all((day,))
            return sum(len(self._store.on_day(day)) for day in days)

    def _send_series(self, series: Sequence[UsageSeries]) -> None:
        self._master.tell(UsageReport(series=tuple(series)))
        self._store.told(tuple(series))

    def _refuse_series(self, series: UsageSeries, error: SlapError) -> None:
        log.error("The master refused what %s used; it is not sent again: %s", series.partition, error)
        self._store.told((series,))

    def _send_day(self, days: Sequence[int]) -> None:
        for day in days:
            self._master.tell_day(datetime.fromtimestamp(day, UTC), self._store.on_day(day))
            self._store.told_day(day)

    def _refuse_day(self, day: int, error: SlapError) -> None:
        log.error(
            "The master refused the journal of %s; it is not sent again: %s", datetime.fromtimestamp(day, UTC), error
        )
        self._store.told_day(day)

    def stop(self) -> None:
        self._stopped.set()
