"""Measure what all partitions use, once."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from slap.model.errors import NotFound
from slap.model.node import DesiredInstance
from slap.node.core.accounts import partition_account
from slap.node.core.config import NodeConfig
from slap.node.usage.aggregate import Amounts, amounts, counters
from slap.node.usage.store import UsageStore, entry
from slap.system import files
from slap.system.clock import Clock
from slap.system.metrics import connections, disk_use, processes

EVERY = 60.0  # seconds between two looks
# A folder is walked through this seldom, and so few of them at one look: it may hold a million files.
_DISK_EVERY = 900.0
_MOST_DISKS = 20


class Collector:
    """Measures the partitions of a node and stores the results."""

    def __init__(self, config: NodeConfig, store: UsageStore, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock

    def once(self, instances: Iterable[DesiredInstance]) -> int:
        """Measure now; returns how many partitions were measured."""
        with files.exclusive(self._config.run / "usage.lock"):
            return self._look({each.partition: each for each in instances})

    def _look(self, instances: Mapping[str, DesiredInstance]) -> int:
        at = self._clock.now().timestamp()
        before = self._store.counters()
        found = list(processes(self._users(instances), self._places(instances)))
        sockets = connections()
        used = amounts(before, found, sockets)
        self._measure_disks(instances, at)
        seconds = at - before.at if before else 0.0
        self._store.add(
            counters(at, found, sockets),
            [
                entry(_whose(each), at, seconds, used.get(name, Amounts()), self._store.disk(name)[1])
                for name, each in instances.items()
            ],
        )
        return len(instances)

    def _users(self, instances: Iterable[str]) -> dict[int, str]:
        """Partitions by user id, where each has a user of its own."""
        users = {}
        for name in instances:
            with suppress(NotFound):  # not formatted yet, so nothing runs there
                user = partition_account(self._config, name).user
                if user is not None:
                    users[user] = name
        return users

    def _places(self, instances: Iterable[str]) -> dict[str, str]:
        return {str(self._config.partition(name)): name for name in instances}

    def _measure_disks(self, instances: Iterable[str], at: float) -> None:
        """Measure a few folders, those with the oldest measurement first."""
        ages = sorted((self._store.disk(name)[0], name) for name in instances)
        for measured, name in ages[:_MOST_DISKS]:
            if at - measured >= _DISK_EVERY:
                self._store.keep_disk(name, at, disk_use(Path(self._config.partition(name))).bytes)


def _whose(instance: DesiredInstance) -> tuple[str, str, str]:
    return instance.guid, instance.partition, instance.reference
