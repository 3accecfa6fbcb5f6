"""The node's small database of what its partitions used: an entry a partition and time slot, kept for days."""

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slap.model.errors import CommandFailed
from slap.model.usage import SLOT, Usage, UsageSeries
from slap.node.usage.aggregate import Amounts, Counters

DAYS = 15  # that entries are kept, as SlapOS keeps its own
_SCHEMA = """
create table if not exists usage (
    instance text, start integer, partition text, reference text, seconds real default 0, cpu real default 0,
    memory integer default 0, disk integer default 0, read integer default 0, written integer default 0,
    received integer default 0, sent integer default 0, changed integer default 1, primary key (instance, start)
) without rowid;
create index if not exists usage_start on usage (start);
create index if not exists usage_changed on usage (changed) where changed = 1;
create table if not exists disk (partition text primary key, at real, bytes integer);
create table if not exists journal (day integer primary key);
create table if not exists reached (partition text, limit_name text, times integer, primary key (partition, limit_name))
without rowid;
create table if not exists counters (only_row integer primary key check (only_row = 1), document text);
"""
_ADD = """
insert into usage (instance, start, partition, reference, seconds, cpu, memory, disk, read, written, received, sent)
values (:instance, :start, :partition, :reference, :seconds, :cpu, :memory, :disk, :read, :written, :received, :sent)
on conflict (instance, start) do update set seconds = seconds + excluded.seconds, cpu = cpu + excluded.cpu,
    memory = excluded.memory, disk = excluded.disk, read = read + excluded.read, written = written + excluded.written,
    received = received + excluded.received, sent = sent + excluded.sent, reference = excluded.reference, changed = 1
"""


class UsageStore:
    """Safe between threads, and between processes by SQLite's own locks. Raises CommandFailed when it cannot write."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        with self._lock, self._connection as connection:
            # What is lost in a power cut are the last minutes of statistics.
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = off")
            connection.executescript(_SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def counters(self) -> Counters | None:
        """How far the counters were at the last look."""
        rows = self._rows("select document from counters")
        return Counters.model_validate_json(rows[0]["document"]) if rows else None

    def add(self, now: Counters, entries: list[dict[str, Any]]) -> None:
        """What was used since the last look, and how far the counters are: both or neither."""
        with self._writing() as connection:
            connection.executemany(_ADD, entries)
            connection.execute("insert or replace into counters values (1, ?)", (now.model_dump_json(),))
            connection.execute("delete from usage where start < ?", (int(now.at) - DAYS * 86400,))

    def disk(self, partition: str) -> tuple[float, int]:
        """When the folder of a partition was last measured, and how many bytes it took."""
        rows = self._rows("select at, bytes from disk where partition = ?", partition)
        return (rows[0]["at"], rows[0]["bytes"]) if rows else (0.0, 0)

    def keep_disk(self, partition: str, at: float, size: int) -> None:
        with self._writing() as connection:
            connection.execute("insert or replace into disk values (?, ?, ?)", (partition, at, size))

    def count_reached(self, partition: str, limit: str) -> None:
        """Count that a partition, or what is named in its place, reached one of its limits."""
        with self._writing() as connection:
            connection.execute(
                "insert into reached values (?, ?, 1) on conflict (partition, limit_name) do update set times = times + 1",
                (partition, limit),
            )

    def reached(self) -> dict[str, dict[str, int]]:
        """How often each partition reached which limit since it was last empty."""
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for row in self._rows("select * from reached order by partition, limit_name"):
            found[row["partition"]][row["limit_name"]] = row["times"]
        return dict(found)

    def forget_reached(self, partition: str) -> None:
        with self._writing() as connection:
            connection.execute("delete from reached where partition = ?", (partition,))

    def untold(self) -> tuple[UsageSeries, ...]:
        """The slots that grew since they were told."""
        return _series(self._rows("select * from usage where changed = 1 order by instance, start"))

    def told(self, series: tuple[UsageSeries, ...]) -> None:
        """The master has these slots; one that grew meanwhile is told again."""
        keys = [(each.instance, int(slot.start.timestamp()), slot.seconds) for each in series for slot in each.slots]
        with self._lock, self._connection as connection:
            connection.executemany(
                "update usage set changed = 0 where instance = ? and start = ? and seconds = ?", keys
            )

    def series(self, since: float) -> tuple[UsageSeries, ...]:
        """Everything from a time on."""
        return _series(self._rows("select * from usage where start >= ? order by instance, start", since))

    def untold_days(self, now: float) -> list[int]:
        """The days (their first second, in UTC) that are over and of which no journal was told."""
        rows = self._rows(
            "select distinct start / 86400 * 86400 as day from usage where start < ?"
            " and start / 86400 * 86400 not in (select day from journal) order by day",
            int(now) // 86400 * 86400,
        )
        return [row["day"] for row in rows]

    def on_day(self, day: int) -> tuple[UsageSeries, ...]:
        rows = self._rows(
            "select * from usage where start >= ? and start < ? order by instance, start", day, day + 86400
        )
        return _series(rows)

    def told_day(self, day: int) -> None:
        with self._lock, self._connection as connection:
            connection.execute("insert or replace into journal values (?)", (day,))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock, self._connection as connection:
                yield connection
        except sqlite3.Error as error:
            raise CommandFailed("What partitions use cannot be written down.", str(error)) from error

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock, closing(self._connection.execute(query, values)) as cursor:
            return cursor.fetchall()


def entry(whose: tuple[str, str, str], at: float, seconds: float, used: Amounts, disk: int) -> dict[str, Any]:
    """A row for `add`: `whose` is the instance's guid, its partition and its name."""
    instance, partition, reference = whose
    return {
        "instance": instance,
        "partition": partition,
        "reference": reference,
        "start": int(at) // SLOT * SLOT,
        "seconds": seconds,
        "disk": disk,
        **{name: getattr(used, name) for name in ("cpu", "memory", "read", "written", "received", "sent")},
    }


def _series(rows: list[sqlite3.Row]) -> tuple[UsageSeries, ...]:
    by_instance: defaultdict[str, list[sqlite3.Row]] = defaultdict(list)
    for row in rows:
        by_instance[row["instance"]].append(row)
    return tuple(
        UsageSeries(
            instance=instance,
            partition=own[-1]["partition"],
            reference=own[-1]["reference"],
            slots=tuple(_usage(row) for row in own),
        )
        for instance, own in by_instance.items()
    )


def _usage(row: sqlite3.Row) -> Usage:
    amounts = {name: row[name] for name in Usage.model_fields if name != "start"}
    return Usage(start=datetime.fromtimestamp(row["start"], UTC), **amounts)
