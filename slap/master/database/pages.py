"""Documents with lists of any length, read and rendered a batch at a time.

What is in memory does not grow with the list: first the keys and sizes of its rows are read, then batches of the rows,
each when the one before was sent. A list that fits into one batch is read and sent as a whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select

BATCH_BYTES = 256 << 10  # a row that is larger is a batch by itself
_BATCH_ROWS = 500  # databases take so many parameters in one statement, and no more

# The documents of some rows, in the order of their keys; a row that is gone meanwhile has none.
Render = Callable[[Connection, Sequence[str]], list[bytes]]


@dataclass(frozen=True)
class PagedDocument:
    """A document with a list between `head` and `tail`: the keys of its `batches`, the `first` of which is rendered."""

    head: bytes
    tail: bytes
    batches: Sequence[Sequence[str]]
    first: list[bytes]
    render: Render
    separator: bytes = b","
    media_type: str = "application/json"


def paged(
    connection: Connection, keys: Select[Any], which: dict[str, object], render: Render
) -> tuple[list[list[str]], list[bytes]]:
    """The batches of the rows whose keys and sizes a query finds, and the first of them rendered."""
    batches = batches_of(connection.execute(keys, which).all())
    return batches, render(connection, batches[0]) if batches else []


def batches_of(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    """Keys in batches of limited size, from pairs of a key and a size in characters."""
    found: list[list[str]] = []
    room = 0
    for key, size in rows:
        room -= size
        if not found or room < 0 or len(found[-1]) >= _BATCH_ROWS:
            found.append([])
            room = BATCH_BYTES - size
        found[-1].append(str(key))
    return found


def spliced(document: bytes, name: str) -> tuple[bytes, bytes]:
    """What is before and after the elements of a list of a JSON document, which has it empty."""
    # The last one: before it there may be values of users. In a text its quotes would be escaped.
    head, tail = document.rsplit(f'"{name}":[]'.encode(), 1)
    return head + f'"{name}":['.encode(), b"]" + tail
