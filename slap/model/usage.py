"""What partitions use of their computer, over time."""

from datetime import datetime

from pydantic import Field

from slap.model.base import Frozen, PartitionName

# Seconds that one entry of a series covers, and how many entries a series has: a day.
SLOT = 1800
SLOTS = 48


class Usage(Frozen):
    """What an instance used from `start` on, during `seconds`.

    `memory` and `disk` are what it had at the end, in bytes; the others are sums over the time: CPU seconds, bytes read
    from and written to disks, bytes received and sent over TCP.
    """

    start: datetime
    seconds: float = Field(ge=0)
    cpu: float = Field(default=0, ge=0)
    memory: int = Field(default=0, ge=0)
    disk: int = Field(default=0, ge=0)
    read: int = Field(default=0, ge=0)
    written: int = Field(default=0, ge=0)
    received: int = Field(default=0, ge=0)
    sent: int = Field(default=0, ge=0)

    @property
    def load(self) -> float:
        """CPUs that were busy, on average."""
        return self.cpu / self.seconds if self.seconds else 0.0


class UsageSeries(Frozen):
    """The use that one instance makes of its partition, the oldest entry first, an entry for each time slot."""

    instance: str
    partition: PartitionName
    reference: str = ""
    slots: tuple[Usage, ...] = ()


class UsageReport(Frozen):
    """What a node tells of the use of its partitions: the latest slots; the master adds them to those that it has."""

    series: tuple[UsageSeries, ...] = ()


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
    return Usage(start=start, seconds=max(each.seconds for each in slots), **sums)
