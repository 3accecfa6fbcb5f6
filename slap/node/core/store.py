"""The node's state database (SQLite): what the master requests, and what the node did about it."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from slap.model.base import Frozen
from slap.model.check import Check, StopTimeout
from slap.model.errors import CommandFailed
from slap.model.node import DesiredInstance, DesiredState, DesiredSupply, InstanceReport, SupplyReport
from slap.model.promise import PromiseResult
from slap.model.state import InstanceState
from slap.model.values import STORED, StoredParameters
from slap.node.core.file_names import MAX_INSTALLED, CrontabLine, Digest, FileName
from slap.node.core.logs import log_refusal


class SoftwareRecord(Frozen):
    """The result of building a release. `revision` is that of the supply that was built."""

    url: str
    revision: int = 0
    failures: int = 0
    retry_at: float = 0.0  # seconds since the epoch
    report: SupplyReport
    told: bool = False  # whether the master acknowledged the report


_BOUNDED = Field(max_length=MAX_INSTALLED)


class Installed(Frozen):
    """What an instantiation left in a partition to run, check and repeat."""

    services: Annotated[dict[FileName, Digest], _BOUNDED] = Field(
        default_factory=dict
    )  # digests of executables by name
    runs: Annotated[dict[FileName, Digest], _BOUNDED] = Field(default_factory=dict)
    checks: Annotated[dict[FileName, Check], _BOUNDED] = Field(default_factory=dict)
    crons: Annotated[dict[FileName, CrontabLine], _BOUNDED] = Field(default_factory=dict)
    patience: Annotated[dict[FileName, StopTimeout], _BOUNDED] = Field(default_factory=dict)  # of services, if not ten


class InstanceRecord(Frozen):
    """What was done in a partition, for which instance, and the result."""

    partition: str
    guid: str
    applied: str = ""  # digest of all that the last instantiation that succeeded depended on
    failed: str = ""  # the same of the last one that failed or waits
    failures: int = 0
    retry_at: float = 0.0
    installed: Installed = Installed()
    release: str = ""  # that it was instantiated from
    supervised: str = ""  # digest of the configuration that supervisord took; a file that was written proves nothing
    unready_since: float = 0.0  # since when promises fail; 0 when they pass
    was_ready: bool = False  # since the last instantiation
    connection: StoredParameters | None = None
    shared: dict[str, StoredParameters] | None = None
    report: InstanceReport
    told: bool = False


Record = TypeVar("Record", bound=Frozen)

Told = TypeVar("Told", InstanceRecord, SoftwareRecord)

_SCHEMA = """
create table if not exists item (kind text, key text, partition text, document text not null, primary key (kind, key));
create index if not exists item_partition on item (kind, partition);
create table if not exists promise (partition text, name text, at text, passed integer, message text, seconds real);
create index if not exists promise_name on promise (partition, name, at);
create table if not exists meta (key text primary key, value integer);
"""

# How many results are kept of each promise.
HISTORY = 50


class Store:
    """The state database. One transaction a call; safe between threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        path.touch(0o600)  # it holds the tokens of partitions
        self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = normal")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def revision(self) -> int:
        """The revision of the desired state that is stored; 0 at first."""
        rows = self._rows("select value from meta where key = 'revision'")
        return int(rows[0][0]) if rows else 0

    def incarnation(self) -> str:
        """The incarnation of the master's database that the revision belongs to; empty when unknown."""
        rows = self._rows("select document from item where kind = 'incarnation'")
        return str(rows[0][0]) if rows else ""

    def has_unusable(self) -> bool:
        """Whether part of the desired state was left out that a later version may be able to use."""
        return bool(self._rows("select key from item where kind = 'unusable' limit 1"))

    def apply(self, desired: DesiredState) -> None:
        """Store the desired state: a complete one replaces what was stored, a partial one updates it.

        A master that sends a whole state to a node that knew something is another one, or one that was restored from a
        backup: it knows nothing of what this node reported, and its revisions count other changes.
        """
        with self._transaction():
            if desired.since == 0:
                if self.revision():  # what the reports are about may have the number of something else now
                    self._mark_unreported(revision=0)
                # An instance whose new request this node cannot use keeps its previous one.
                self._connection.execute(
                    "delete from item where kind in ('supply', 'instance') and key not in (select value from json_each(?))",
                    (json.dumps(list(desired.unusable)),),
                )
            for supply in desired.supplies:
                self._put("supply", supply.url, "", supply)
            for instance in desired.instances:
                self._put("instance", instance.guid, instance.partition, instance)
            self._end_what_is_gone(desired)
            self._connection.execute("insert or replace into meta values ('revision', ?)", (desired.revision,))
            row = ("incarnation", "", "", desired.incarnation)
            self._connection.execute("insert or replace into item values (?, ?, ?, ?)", row)
            self._note_unusable(desired)

    def supplies(self) -> list[DesiredSupply]:
        return self._all(DesiredSupply, "supply")

    def supply(self, url: str) -> DesiredSupply | None:
        return self._get(DesiredSupply, "supply", url)

    def instances(self) -> list[DesiredInstance]:
        return self._all(DesiredInstance, "instance")

    def instance_in(self, partition: str) -> DesiredInstance | None:
        """The instance wanted in a partition; a destroyed one only when no other is."""
        found = [
            DesiredInstance.model_validate_json(row, context=STORED) for row in self._documents("instance", partition)
        ]
        return max(found, key=lambda each: each.state != "destroyed", default=None)

    def forget_instance(self, guid: str) -> None:
        """Delete a destroyed instance; it stays if the master wants one with this guid again."""
        with self._transaction():
            known = self._get(DesiredInstance, "instance", guid)
            if known and known.state is InstanceState.DESTROYED:
                self._connection.execute("delete from item where kind = 'instance' and key = ?", (guid,))

    def forget_supply(self, url: str) -> None:
        self._delete("supply", url)
        self._delete("software-record", url)

    def instance_record(self, partition: str) -> InstanceRecord | None:
        """The record of a partition; None also for one that this version does not accept."""
        try:
            return self._get(InstanceRecord, "instance-record", partition)
        except ValidationError as error:
            log_refusal(partition, "its stored record, so it is instantiated anew", error)
            return None

    def instance_records(self) -> list[InstanceRecord]:
        try:
            return self._all(InstanceRecord, "instance-record")
        except ValidationError:
            keys = self._rows("select key from item where kind = 'instance-record' order by key")
            return [record for (key,) in keys if (record := self.instance_record(key))]

    def save_instance(self, record: InstanceRecord, *, anew: bool = False) -> bool:
        """Save a record; returns whether the master has acknowledged its report. `anew`: report it in any case.

        That is known here alone, whatever `told` says: the master may have acknowledged it a moment ago.
        """
        with self._transaction():
            before = self.instance_record(record.partition)
            told = before is not None and before.report == record.report and before.told and not anew
            saved = record.model_copy(update={"told": told})
            if saved != before:
                self._put("instance-record", record.partition, record.partition, saved)
        return told

    def delete_instance_record(self, partition: str, guid: str) -> None:
        """Delete the record of an instance; the next one may already be in its partition."""
        with self._transaction():
            record = self.instance_record(partition)
            if record and record.guid == guid:
                self._connection.execute("delete from item where kind = 'instance-record' and key = ?", (partition,))
                self._connection.execute("delete from promise where partition = ?", (partition,))

    def software_record(self, url: str) -> SoftwareRecord | None:
        return self._get(SoftwareRecord, "software-record", url)

    def software_records(self) -> list[SoftwareRecord]:
        return self._all(SoftwareRecord, "software-record")

    def save_software(self, record: SoftwareRecord, *, anew: bool = False) -> bool:
        """Save the record of a release; returns whether the master has acknowledged its report."""
        with self._transaction():
            before = self.software_record(record.url)
            known = before is not None and (before.report, before.revision) == (record.report, record.revision)
            told = known and before is not None and before.told and not anew
            saved = record.model_copy(update={"told": told})
            if saved != before:
                self._put("software-record", record.url, "", saved)
        return told

    def mark_told(self, partition: str, report: InstanceReport) -> None:
        """Mark a report as acknowledged, unless a newer one was saved meanwhile."""
        with self._transaction():
            record = self.instance_record(partition)
            if record and record.report == report:
                self._put("instance-record", partition, partition, _told(record))

    def mark_software_told(self, report: SupplyReport) -> None:
        with self._transaction():
            record = self.software_record(report.url)
            if record and record.report == report:
                self._put("software-record", record.url, "", _told(record))

    def mark_all_unreported(self) -> None:
        """Mark everything as unreported."""
        with self._transaction():
            self._mark_unreported()

    def add_results(self, partition: str, results: tuple[PromiseResult, ...]) -> None:
        """Add results of promises to the history, which keeps the newest of each."""
        with self._transaction():
            for result in results:
                row = (partition, result.name, result.at.isoformat(), result.passed, result.message, result.seconds)
                self._connection.execute("insert into promise values (?, ?, ?, ?, ?, ?)", row)
                self._connection.execute(_TRIM, (partition, result.name, partition, result.name, HISTORY))

    def results(self, partition: str, name: str = "") -> list[PromiseResult]:
        """The promise history of a partition, the newest first."""
        query = "select name, passed, message, at, seconds from promise where partition = ? and (name = ? or ? = '')"
        return [_result(row) for row in self._rows(f"{query} order by at desc", partition, name, name)]

    def _mark_unreported(self, **changes: object) -> None:
        """Mark all records as unreported, and update the reports of instances by `changes`."""
        for record in self.instance_records():
            report = record.report.model_copy(update=changes)
            forgotten = record.model_copy(update={"told": False, "report": report})
            self._put("instance-record", record.partition, record.partition, forgotten)
        for software in self.software_records():
            self._put("software-record", software.url, "", software.model_copy(update={"told": False}))

    def _note_unusable(self, desired: DesiredState) -> None:
        if desired.since == 0:
            self._connection.execute("delete from item where kind = 'unusable'")
        for guid, reason in desired.unusable.items():
            row = ("unusable", guid, "", reason)
            self._connection.execute("insert or replace into item values (?, ?, ?, ?)", row)

    def _end_what_is_gone(self, desired: DesiredState) -> None:
        """Mark instances as destroyed that are missing where the master states a partition completely."""
        named = {each.guid for each in desired.instances}
        for partition in desired.complete:
            for text in self._documents("instance", partition):
                known = DesiredInstance.model_validate_json(text, context=STORED)
                if known.guid not in named:
                    gone = known.model_copy(update={"state": InstanceState.DESTROYED})
                    self._put("instance", known.guid, partition, gone)

    def _put(self, kind: str, key: str, partition: str, document: Frozen) -> None:
        row = (kind, key, partition, document.model_dump_json())
        self._connection.execute("insert or replace into item values (?, ?, ?, ?)", row)

    def _get(self, model: type[Record], kind: str, key: str) -> Record | None:
        rows = self._rows("select document from item where kind = ? and key = ?", kind, key)
        return model.model_validate_json(rows[0][0], context=STORED) if rows else None

    def _all(self, model: type[Record], kind: str) -> list[Record]:
        rows = self._rows("select document from item where kind = ? order by key", kind)
        return [model.model_validate_json(row[0], context=STORED) for row in rows]

    def _documents(self, kind: str, partition: str) -> list[str]:
        return [row[0] for row in self._rows(_IN_PARTITION, kind, partition)]

    def _delete(self, kind: str, key: str) -> None:
        with self._transaction():
            self._connection.execute("delete from item where kind = ? and key = ?", (kind, key))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction; raises CommandFailed, with nothing changed, when the file cannot be written."""
        try:
            with self._lock, self._connection:
                self._connection.execute("begin immediate")
                yield
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> CommandFailed:
        return CommandFailed("The node cannot use its memory.", f"{self._path}: {error}.", "Make room on its disk.")


def _told(record: Told) -> Told:
    return record.model_copy(update={"told": True})


_IN_PARTITION = "select document from item where kind = ? and partition = ?"

_TRIM = """delete from promise where partition = ? and name = ? and at <
    (select at from promise where partition = ? and name = ? order by at desc limit 1 offset ?)"""


def _result(row: tuple[str, int, str, str, float]) -> PromiseResult:
    name, passed, message, at, seconds = row
    return PromiseResult(
        name=name, passed=bool(passed), message=message, at=datetime.fromisoformat(at), seconds=seconds
    )
