"""`slapos node collect`: what partitions use, measured on the spot and shown."""

import argparse
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from slap.cli.base import Lister
from slap.cli.formats import Cell
from slap.cli.local import find_cfg
from slap.cli.sparkline import sparkline
from slap.cli.usage import size
from slap.model.usage import UsageSeries
from slap.node.core.config import read
from slap.node.core.store import Store
from slap.node.usage.collect import Collector
from slap.node.usage.store import UsageStore

_SHOWN = timedelta(hours=12)


class NodeCollect(Lister):
    """Measure what partitions use, once, and show it. The agent does the same each minute.

    What is measured is kept for days in state/usage.sqlite, and told to the master by `slapos node report`.
    """

    when_empty = "Nothing runs on this computer."

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        config = read(find_cfg(args.cfg or "", self.folder))
        config.make_folders()
        store = UsageStore(config.usage_file)
        instances = Store(config.store_file).instances()
        Collector(config, store, self.clock).once(instances)
        since = (self.clock.now() - _SHOWN).timestamp()
        there = {each.guid for each in instances}
        rows = [_row(each) for each in store.series(since) if each.instance in there]
        return ("partition", "service", "cpu", "memory", "disk", "received", "sent", "cpu since"), rows


def _row(series: UsageSeries) -> tuple[Any, ...]:
    last = series.slots[-1]
    loads = [slot.load for slot in series.slots]
    return (
        series.partition,
        series.reference,
        Cell(round(last.load, 4), f"{100 * last.load:.1f} %"),
        Cell(last.memory, size(last.memory)),
        Cell(last.disk, size(last.disk)),
        Cell(last.received, size(last.received)),
        Cell(last.sent, size(last.sent)),
        Cell(loads, sparkline(loads)),
    )
