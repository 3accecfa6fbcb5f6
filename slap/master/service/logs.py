"""Logs of an instance: asked of its node through the desired state, brought by its next report."""

import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select

from slap.master.access.auth import Caller
from slap.master.computer import bump
from slap.master.database.hub import log_topic
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, computer, log_request
from slap.master.database.text import now
from slap.master.service.state import LOGS_WITHIN
from slap.master.service.tree import visible
from slap.model.errors import Conflict, TooMany, Unreachable

# Requests that nobody fetched the answer of are swept out after this.
_MAX_WAITING = 20  # for logs of one computer: each may bring a MiB
_KEPT = timedelta(minutes=5)


async def logs(store: Store, caller: Caller, guid: str, lines: int, within: float = LOGS_WITHIN) -> str:
    """The last lines of an instance's logs; raises Unreachable when its node does not bring them in time."""
    row = await store.read(lambda connection: visible(connection, caller, guid))
    if row.reported == "destroyed":
        raise Conflict(f"{row.reference} is destroyed.", "Its logs went with it.")
    if row.host is not None:
        raise Conflict(
            f"{row.reference} is a shared instance: it has no logs of its own.", "", f"slapos service logs {row.host}"
        )
    request = secrets.token_hex(8)
    await store.write(lambda transaction: _ask(transaction, row, request, lines))

    async def read() -> tuple[bool, str | None]:
        text = await store.read(lambda connection: _answer(connection, request))
        return text is not None, text

    try:
        text = await store.hub.wait_for(log_topic(request), within, read)
    finally:  # an answer that comes later is kept by nobody
        await store.write(lambda transaction: _forget(transaction, request))
    if text is None:
        raise await _no_answer(store, row.computer)
    return text


def _ask(transaction: Transaction, row: AnyRow, request: str, lines: int) -> None:
    old = (datetime.now(UTC) - _KEPT).isoformat()
    transaction.connection.execute(
        delete(log_request).where(log_request.c.computer == row.computer, log_request.c.created_at < old)
    )
    waiting = select(func.count()).where(log_request.c.computer == row.computer)
    if transaction.connection.execute(waiting).scalar_one() >= _MAX_WAITING:
        raise TooMany(
            "Too many wait for logs of this computer.", f"{row.computer}: {_MAX_WAITING}.", "Ask again later."
        )
    values = {
        "id": request,
        "computer": row.computer,
        "instance": row.guid,
        "partition": row.partition,
        "lines": lines,
        "revision": bump(transaction, row.computer),
        "created_at": now(),
    }
    transaction.connection.execute(insert(log_request), values)


def _answer(connection: Connection, request: str) -> str | None:
    return connection.execute(select(log_request.c.text).where(log_request.c.id == request)).scalar()


def _forget(transaction: Transaction, request: str) -> None:
    transaction.connection.execute(delete(log_request).where(log_request.c.id == request))


async def _no_answer(store: Store, guid: str) -> Unreachable:
    query = select(computer.c.title, computer.c.seen_at).where(computer.c.guid == guid)
    row = await store.read(lambda connection: connection.execute(query).one())
    return Unreachable(
        f"The node of {row.title} ({guid}) did not answer.",
        f"It was last seen {row.seen_at or 'never'}.",
        "Check that its agent runs: slapos node agent.",
    )
