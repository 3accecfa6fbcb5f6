"""What had been requested, and how one request differs from another."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, func, insert, select

from slap.master.database.tables import AnyRow, history
from slap.master.database.text import from_json, now, to_json
from slap.model.instance import FieldChange, HistoryEntry, InstanceRequest
from slap.model.values import STORED


def record(connection: Connection, guid: str, by: str, order: InstanceRequest) -> None:
    """Add a request to the history of an instance that has one."""
    last = select(func.max(history.c.number)).where(history.c.instance == guid)
    number = (connection.execute(last).scalar() or 0) + 1
    record_first(connection, guid, by, order, number)


def record_first(connection: Connection, guid: str, by: str, order: InstanceRequest, number: int = 1) -> None:
    values = {"instance": guid, "number": number, "at": now(), "by": by, "request": to_json(order.model_dump())}
    connection.execute(_ADD, values)


_ADD = insert(history)


def entries(rows: Iterable[AnyRow]) -> list[HistoryEntry]:
    """The rows of one instance, oldest first, each with its difference from the one before."""
    found = []
    before: InstanceRequest | None = None
    for row in rows:
        request = InstanceRequest.model_validate_json(row.request, context=STORED)
        changes = differences(before, request) if before else ()
        found.append(HistoryEntry(number=row.number, at=row.at, by=row.by, request=request, changes=changes))
        before = request
    return found


def differences(before: InstanceRequest, after: InstanceRequest) -> tuple[FieldChange, ...]:
    """What is not the same in two requests, sorted by the path of the field."""
    old, new = (dict(_leaves("", from_json(to_json(each.model_dump())))) for each in (before, after))
    return tuple(
        FieldChange(field=path, before=old.get(path, ""), after=new.get(path, ""))
        for path in sorted({*old, *new})
        if old.get(path) != new.get(path)
    )


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """All values that are not objects, as JSON, by their dotted paths; an empty object has none."""
    if isinstance(value, dict):
        for name in value:
            yield from _leaves(f"{path}.{name}" if path else name, value[name])
    else:
        yield path, to_json(value)
