"""What had been requested, and how one request differs from another."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from slap.master.database.tables import AnyRow, history
from slap.master.database.text import from_json, now, to_json
from slap.model.instance import FieldChange, HistoryEntry, InstanceRequest
from slap.model.values import STORED

# Characters of all requests of one instance that are kept; the last one is kept whatever its size.
MAX_HISTORY_SIZE = 2 << 20
_MAX_ENTRIES = 1000
_PRUNE_EVERY = 16
_SMALL_SIZE = 64 << 10
_MAX_CHANGES = 1000  # of one request; of the others their number is told


def record(connection: Connection, guid: str, by: str, order: InstanceRequest) -> None:
    """Add a request to the history of an instance that has one. The oldest entries go when there is too much.

    Looking at all entries costs as much as there are: small requests do so once in `_PRUNE_EVERY` times.
    """
    last = select(func.max(history.c.number)).where(history.c.instance == guid)
    number = (connection.execute(last).scalar() or 0) + 1
    size = record_first(connection, guid, by, order, number)
    if number % _PRUNE_EVERY == 0 or size > _SMALL_SIZE:
        _prune(connection, guid)


def record_first(connection: Connection, guid: str, by: str, order: InstanceRequest, number: int = 1) -> int:
    """Add an entry; returns the characters of its request."""
    request = to_json(order.model_dump())
    connection.execute(_ADD, {"instance": guid, "number": number, "at": now(), "by": by, "request": request})
    return len(request)


def _prune(connection: Connection, guid: str) -> None:
    sizes = select(history.c.number, func.length(history.c.request)).where(history.c.instance == guid)
    room = MAX_HISTORY_SIZE
    for index, (number, size) in enumerate(connection.execute(sizes.order_by(history.c.number.desc())).all()):
        room -= size if index else 0
        if room < 0 or index >= _MAX_ENTRIES:
            connection.execute(delete(history).where(history.c.instance == guid, history.c.number <= number))
            return


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
    paths = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    found = [
        FieldChange(field=path, before=old.get(path, ""), after=new.get(path, "")) for path in paths[:_MAX_CHANGES]
    ]
    if len(paths) > _MAX_CHANGES:
        found.append(FieldChange(field=f"{len(paths) - _MAX_CHANGES} more fields"))
    return tuple(found)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """All values that are not objects, as JSON, by their dotted paths; an empty object has none."""
    if isinstance(value, dict):
        for name in value:
            yield from _leaves(f"{path}.{name}" if path else name, value[name])
    else:
        yield path, to_json(value)
