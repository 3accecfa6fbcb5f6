"""Measuring and telling, as long as the agent runs."""

import logging
import threading
from collections.abc import Callable, Iterable

from slap.client.master import Master
from slap.model.errors import SlapError
from slap.model.node import DesiredInstance
from slap.model.usage import UsageReport
from slap.node.usage.collect import EVERY, Collector
from slap.node.usage.store import UsageStore

log = logging.getLogger(__name__)

# Looks between two reports to the master: what is told seldom costs it little.
_LOOKS = 5
# Series in one request.
_MOST_AT_ONCE = 500


class UsageKeeper:
    """Looks each minute at what partitions use, and tells the master every few minutes."""

    def __init__(
        self,
        collector: Collector,
        store: UsageStore,
        instances: Callable[[], Iterable[DesiredInstance]],
        tell: Callable[[UsageReport], None],
    ) -> None:
        self._collector = collector
        self._store = store
        self._instances = instances
        self._tell = tell
        self._stopped = threading.Event()

    def run(self) -> None:
        """Repeat until `stop`; what cannot be measured or told is logged, and tried again with the next look."""
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
        """Tell the master what it does not know; returns of how many instances that was."""
        untold = self._store.untold()
        for start in range(0, len(untold), _MOST_AT_ONCE):
            some = untold[start : start + _MOST_AT_ONCE]
            self._tell(UsageReport(series=some))
            self._store.told(some)
        return len(untold)

    def stop(self) -> None:
        self._stopped.set()


def teller(master: Callable[[], Master], computer: str) -> Callable[[UsageReport], None]:
    """Tells the master of this computer, over a connection of the thread that tells."""
    return lambda report: master().report_usage(computer, report)
