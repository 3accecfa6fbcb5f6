"""What partitions use of their computer, over time."""

from datetime import datetime
from typing import Annotated

from pydantic import FailFast, Field

from slap.model.base import Frozen, PartitionName
from slap.model.values import Amount, Count, Moment, Word

# Seconds that one entry of a series covers, and how many entries a series has: a day.
SLOT = 1800
SLOTS = 48
# In one report: a node that was away for long reports all days that it keeps.
MAX_SLOTS = 20 * SLOTS
MAX_SERIES = 2000


class Usage(Frozen):
    """What an instance used from `start` on, during `seconds`.

    `memory` and `disk` are what it had at the end, in bytes; the others are sums over the time: CPU seconds, bytes read
    from and written to disks, bytes received and sent over TCP.
    """

    start: Moment
    seconds: Amount
    cpu: Amount = 0
    memory: Count = 0
    disk: Count = 0
    read: Count = 0
    written: Count = 0
    received: Count = 0
    sent: Count = 0

    @property
    def load(self) -> float:
        """CPUs that were busy, on average."""
        return self.cpu / self.seconds if self.seconds else 0.0


class UsageSeries(Frozen):
    """The use that one instance makes of its partition, the oldest entry first, an entry for each time slot."""

    instance: Word
    partition: PartitionName
    reference: Word = ""
    slots: Annotated[tuple[Usage, ...], FailFast()] = Field(default=(), max_length=MAX_SLOTS)


class UsageReport(Frozen):
    """What a node tells of the use of its partitions: the latest slots; the master adds them to those that it has."""

    series: Annotated[tuple[UsageSeries, ...], FailFast()] = Field(default=(), max_length=MAX_SERIES)


def merged(known: tuple[Usage, ...], news: tuple[Usage, ...]) -> tuple[Usage, ...]:
    """A series with news in it: what is told again of a slot replaces what was known, and the oldest slots go."""
    slots = {each.start: each for each in (*known, *news)}
    return tuple(slots[start] for start in sorted(slots))[-SLOTS:]


def total(parts: tuple[tuple[Usage, ...], ...]) -> tuple[Usage, ...]:
    """Several series as one: each slot has the sum of theirs."""
    starts = sorted({each.start for series in parts for each in series})[-SLOTS:]
    return tuple(_sum(start, [each for series in parts for each in series if each.start == start]) for start in starts)


def _sum(start: datetime, slots: list[Usage]) -> Usage:
    amounts = ("cpu", "memory", "disk", "read", "written", "received", "sent")
    sums = {name: sum(getattr(each, name) for each in slots) for name in amounts}
    # Sums of amounts, each of which was judged by itself.
    return Usage.model_construct(start=start, seconds=max(each.seconds for each in slots), **sums)
