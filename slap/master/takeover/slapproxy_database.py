"""What the database of a SlapOS slapproxy holds, of any of the versions of its tables since 10.

Its tables carry the version of their schema in their names (partition18). Later versions say more: columns that an older
one lacks are read as empty.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slap.model.errors import InvalidInput
from slap.model.slapos.xml import parse_xml
from slap.model.state import InstanceState, SupplyState
from slap.system.marshal import loads

_TABLE = re.compile(r"(?P<name>[a-z_]+?)(?P<version>\d+)")
_OLDEST = 10


@dataclass(frozen=True)
class FormerPartition:
    """A partition; `title` is the name of the instance in it, empty for a free one."""

    computer: str
    name: str
    addresses: tuple[str, ...] = ()
    title: str = ""
    release: str = ""
    type: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    connection: dict[str, Any] = field(default_factory=dict)
    state: InstanceState = InstanceState.STARTED
    requester: str = ""  # the partition whose instance requested this one
    root_title: str = ""  # the name of the root of its tree, empty for a root


@dataclass(frozen=True)
class FormerShared:
    """A shared instance, served from partition `host`."""

    computer: str
    host: str
    reference: str  # its name to the partition that serves it
    title: str
    type: str
    requester: str
    parameters: dict[str, Any]
    connection: dict[str, Any]


@dataclass(frozen=True)
class FormerProxy:
    """Everything in such a database. `supplies`: computer, URL, requested state."""

    computers: tuple[str, ...]
    supplies: tuple[tuple[str, str, SupplyState], ...]
    partitions: tuple[FormerPartition, ...]
    shared: tuple[FormerShared, ...]
    forwarded: tuple[tuple[str, str], ...]  # reference, URL of the other master


def is_former(file: Path) -> bool:
    """Whether a file is the database of a SlapOS slapproxy; raises InvalidInput when that cannot be told now.

    To guess would be to put tables of ours into it, which would be lost as soon as it is seen to be one.
    """
    try:
        with closing(_opened(file)) as connection:
            return _version(connection) > 0
    except sqlite3.OperationalError as error:
        raise InvalidInput(
            f"The database {file} cannot be read now; it was not changed.",
            str(error),
            "Stop what uses it, a slapproxy of SlapOS perhaps, and check that you may read and write it.",
        ) from error
    except sqlite3.Error:
        return False


def read_former(file: Path) -> FormerProxy:
    """Read the whole database; raises InvalidInput when it cannot be understood."""
    try:
        with closing(_opened(file)) as connection:
            return _Reader(connection, _known_version(connection, file)).everything()
    except (sqlite3.Error, ValueError, KeyError) as error:
        raise InvalidInput(
            f"The slapproxy database {file} cannot be understood; it was not changed.",
            f"{type(error).__name__}: {error}",
            "Start slapproxy of SlapOS once, which brings its tables to the newest version, then try again.",
        ) from error


def _opened(file: Path) -> sqlite3.Connection:
    """Not only for reading: what a slapproxy that was killed had begun is rolled back, or else nothing can be read."""
    connection = sqlite3.connect(f"{file.resolve().as_uri()}?mode=rw", uri=True)
    connection.row_factory = sqlite3.Row
    return connection


def _version(connection: sqlite3.Connection) -> int:
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    matches = [match for name in names if (match := _TABLE.fullmatch(name))]
    return max((int(match["version"]) for match in matches if match["name"] == "partition"), default=0)


def _known_version(connection: sqlite3.Connection, file: Path) -> int:
    version = _version(connection)
    if version < _OLDEST:
        raise InvalidInput(
            f"The slapproxy database {file} is of version {version}, which is too old; it was not changed.",
            f"Versions from {_OLDEST} on can be read.",
            "Start a newer slapproxy of SlapOS once, which brings its tables to its version, then try again.",
        )
    return version


class _Reader:
    """Reads the tables of one version."""

    def __init__(self, connection: sqlite3.Connection, version: int) -> None:
        self._connection = connection
        self._version = version

    def everything(self) -> FormerProxy:
        supplies = tuple(self._supplies())
        partitions = tuple(self._partitions())
        named = [row["reference"] for row in self._rows("computer")]
        used = [each[0] for each in supplies] + [each.computer for each in partitions]
        return FormerProxy(
            computers=tuple(sorted({*named, *used})),
            supplies=supplies,
            partitions=partitions,
            shared=tuple(self._shared()),
            forwarded=tuple(
                (row["partition_reference"], row["master_url"]) for row in self._rows("forwarded_partition_request")
            ),
        )

    def _rows(self, table: str) -> list[dict[str, Any]]:
        name = f"{table}{self._version}"
        exists = self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        # The name is one of ours with a number, so it can stand in the statement.
        return [dict(row) for row in self._connection.execute(f"SELECT * FROM {name}")] if exists else []

    def _supplies(self) -> Iterator[tuple[str, str, SupplyState]]:
        for row in self._rows("software"):
            yield row["computer_reference"], row["url"], SupplyState(row.get("requested_state") or "available")

    def _partitions(self) -> Iterator[FormerPartition]:
        addresses = self._addresses()
        for row in self._rows("partition"):
            place = row["computer_reference"], row["reference"]
            yield self._partition(row, tuple(addresses.get(place, ())))

    def _partition(self, row: dict[str, Any], addresses: tuple[str, ...]) -> FormerPartition:
        free = FormerPartition(row["computer_reference"], row["reference"], addresses)
        if row["slap_state"] == "free" or not row["software_release"]:
            return free
        requester, root_title = self._requester(row)
        return FormerPartition(
            free.computer,
            free.name,
            addresses,
            title=row["partition_reference"] or row["reference"],
            release=row["software_release"],
            type=row["software_type"] or "",
            parameters=_parameters(row["xml"]),
            connection=_parameters(row["connection_xml"]),
            state=InstanceState(row.get("requested_state") or "started"),
            requester=requester,
            root_title=root_title,
        )

    def _requester(self, row: dict[str, Any]) -> tuple[str, str]:
        """Before version 17 `requested_by` was the requesting partition; since then it is the name of the tree's root."""
        by = row.get("requested_by") or ""
        return (by, "") if self._version < 17 else (_partition_name(row.get("requester_id")), by)

    def _addresses(self) -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = {}
        for row in self._rows("partition_network"):
            found.setdefault((row["computer_reference"], row["partition_reference"]), []).append(row["address"])
        return found

    def _shared(self) -> Iterator[FormerShared]:
        listed = self._listed()
        for row in self._rows("slave"):
            document = listed.get((row["computer_reference"], row["reference"]), {})
            yield FormerShared(
                computer=row["computer_reference"],
                host=row["hosted_by"],
                reference=row["reference"],
                title=_shared_title(row["reference"]),
                type=document.get("slap_software_type") or "",
                requester=_partition_name(row.get("requester_id") or row.get("asked_by")),
                parameters={name: value for name, value in document.items() if name not in _SHARED_KEYS},
                connection=_parameters(row["connection_xml"]),
            )

    def _listed(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What the serving partitions are told of their shared instances, by computer and reference."""
        found = {}
        for row in self._rows("partition"):
            for document in _loaded(row["slave_instance_list"]):
                found[row["computer_reference"], document["slave_reference"]] = document
        return found


_SHARED_KEYS = frozenset({"slave_title", "slave_reference", "slap_software_type", "timestamp"})


def _partition_name(requester: str | None) -> str:
    """A requester is a partition, or the word `user`."""
    return "" if requester in (None, "user") else str(requester)


def _shared_title(reference: str) -> str:
    """`<title of the root>_<name>`, with nothing before the underscore when a user requested it."""
    return reference.partition("_")[2] or reference


def _loaded(text: str | None) -> list[dict[str, Any]]:
    return list(loads(text.encode())) if text else []


def _parameters(text: str | None) -> dict[str, Any]:
    """Parameters as slapproxy stores them: <instance><parameter id="NAME">VALUE</parameter>...</instance>."""
    if not text:
        return {}
    root = parse_xml(text)
    return {each.get("id", ""): each.text or "" for each in root.iter("parameter")}
