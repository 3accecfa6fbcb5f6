"""What instances use: a day of it, as their nodes tell."""

import asyncio
import re
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, bindparam, select, text

from slap.master.access.auth import Caller
from slap.master.computer import find
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, instance, is_living, partition, usage
from slap.master.service.state import check_own
from slap.master.service.tree import visible
from slap.model.tioxml import read_journal
from slap.model.usage import Usage, UsageReport, UsageSeries, merged

_SLOTS = TypeAdapter(tuple[Usage, ...])
# In SlapOS's journals a partition is named by its user.
_USER = re.compile(r"slapuser(\d+)")
_MOST_AT_ONCE = 500


async def report(store: Store, caller: Caller, guid: str, told: UsageReport) -> None:
    """Take what the node of a computer tells. Repeating it changes nothing; what is of no instance there is left out."""
    check_own(caller, guid)
    for start in range(0, len(told.series), _MOST_AT_ONCE):
        some = told.series[start : start + _MOST_AT_ONCE]
        await store.write(lambda transaction, some=some: _add(transaction, guid, some))  # type: ignore[misc]


async def report_journal(store: Store, caller: Caller, guid: str, journal: str) -> None:
    """The same in TioXML, as SlapOS's nodes send it; raises InvalidInput for what is not."""
    read = await asyncio.to_thread(read_journal, journal)  # one of a large computer takes a second
    found = {_partition_name(name): slots for name, slots in read.items()}
    inside = await store.read_much(lambda connection: _inside(connection, guid))
    series = [
        UsageSeries(instance=inside[name], partition=name, slots=slots)
        for name, slots in found.items()
        if name in inside
    ]
    await report(store, caller, guid, UsageReport(series=tuple(series)))


async def of_instance(store: Store, caller: Caller, guid: str) -> UsageSeries:
    """What an instance used, as far as it is known."""

    def job(connection: Connection) -> UsageSeries:
        row = visible(connection, caller, guid)
        found = connection.execute(_ONE, {"guid": guid}).scalar()
        return UsageSeries(
            instance=guid, partition=row.partition, reference=row.reference, slots=_slots(found) if found else ()
        )

    return await store.read(job)


async def of_computer(store: Store, caller: Caller, name: str) -> list[UsageSeries]:
    """What each living instance on a computer used."""

    def job(connection: Connection) -> list[UsageSeries]:
        row = find(connection, caller, name)
        return [_series(each) for each in connection.execute(_ALL, {"computer": row.guid}).all()]

    return await store.read_much(job)


_ONE = select(usage.c.document).where(usage.c.instance == bindparam("guid"))
_ALL = (
    select(usage.c.instance, usage.c.document, instance.c.partition, instance.c.reference)
    .join_from(usage, instance, instance.c.guid == usage.c.instance)
    .where(instance.c.computer == bindparam("computer"), is_living)
    .order_by(instance.c.reference)
)
_KNOWN = (
    select(instance.c.guid, usage.c.document)
    .join_from(instance, usage, usage.c.instance == instance.c.guid, isouter=True)
    .where(
        instance.c.computer == bindparam("computer"),
        instance.c.guid.in_(bindparam("guids", expanding=True)),
        is_living,
    )
)
_INSIDE = select(partition.c.name, partition.c.instance).where(
    partition.c.computer == bindparam("computer"), partition.c.instance.is_not(None)
)
_PUT = text(
    "INSERT INTO usage (instance, document) VALUES (:instance, :document)"
    " ON CONFLICT (instance) DO UPDATE SET document = excluded.document"
)


def _add(transaction: Transaction, guid: str, told: Iterable[UsageSeries]) -> None:
    news = {each.instance: each.slots for each in told}
    rows = transaction.connection.execute(_KNOWN, {"computer": guid, "guids": list(news)}).all()
    changed = [{"instance": row.guid, "document": _words(merged(_slots(row.document), news[row.guid]))} for row in rows]
    if changed:
        transaction.connection.execute(_PUT, changed)


def _inside(connection: Connection, guid: str) -> dict[str, str]:
    return {row.name: row.instance for row in connection.execute(_INSIDE, {"computer": guid}).all()}


def _partition_name(name: str) -> str:
    match = _USER.fullmatch(name)
    return f"slappart{match[1]}" if match else name


def _series(row: AnyRow) -> UsageSeries:
    return UsageSeries(
        instance=row.instance, partition=row.partition, reference=row.reference, slots=_slots(row.document)
    )


def _slots(document: str | None) -> tuple[Usage, ...]:
    return _SLOTS.validate_json(document) if document else ()


def _words(slots: tuple[Usage, ...]) -> Any:
    return _SLOTS.dump_json(slots, exclude_defaults=True).decode()
