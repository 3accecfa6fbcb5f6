"""Supplies: which computer shall have which software release."""

import asyncio
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from slap.master.access.auth import Caller, CallerKind
from slap.master.computer import bump, find
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, computer, instance, is_living, release, supply
from slap.master.database.text import did_you_mean, now, similar_urls, to_json
from slap.master.order.parameters import KnownRelease, check_schemas, known_release
from slap.master.order.validation import SchemaChecks
from slap.master.release import read_release
from slap.model.errors import Conflict, NotFound
from slap.model.software import SoftwareRelease, Supply, SupplyRequest, normalise_release_url
from slap.model.state import SupplyState


async def request_supply(store: Store, checks: SchemaChecks, caller: Caller, wanted: SupplyRequest) -> Supply:
    """Supply a release to a computer, or remove it. Supplying again has the node look again."""
    wanted = wanted.model_copy(update={"url": normalise_release_url(wanted.url, "/")})
    row = await store.read(lambda connection: find(connection, caller, wanted.computer))
    wanted = wanted.model_copy(update={"computer": row.guid})
    if wanted.state is SupplyState.DESTROYED:
        return await store.write(lambda transaction: _remove(transaction, wanted))
    # Read before the transaction begins: a slow server of releases must not hold up the master.
    document = await asyncio.to_thread(read_release, wanted.url, checks.settings.limits)
    await check_schemas(checks, caller.owner, document)
    return await store.write(lambda transaction: _supply(transaction, wanted, document))


async def listing(store: Store, caller: Caller, guid: str, url: str) -> list[Supply]:
    """The supplies that the caller may see; those that are gone only when they are asked for by their URL."""
    caller.must_be(CallerKind.USER, CallerKind.COMPUTER)
    query = select(supply).join(computer).where(_is_visible(caller)).order_by(supply.c.url, supply.c.computer)
    if url:
        query = query.where(supply.c.url == normalise_release_url(url, "/"))
    else:
        query = query.where((supply.c.requested != "destroyed") | (supply.c.reported != "destroyed"))
    if guid:
        found = await store.read(lambda connection: find(connection, caller, guid))
        query = query.where(supply.c.computer == found.guid)
    rows = await store.read_much(lambda connection: connection.execute(query).all())
    return [_render(row) for row in rows]


async def releases(store: Store, caller: Caller) -> list[SoftwareRelease]:
    """The releases that are supplied somewhere where the caller may use them."""
    rows = await store.read_much(lambda connection: connection.execute(_USABLE, {"owner": caller.owner}).all())
    return [known_release(row.document).release for row in rows]


def usable_release(connection: Connection, owner: str, url: str) -> KnownRelease:
    """A release that is supplied to a computer of this owner; raises NotFound with what looks like it."""
    document = connection.execute(_USABLE_ONE, {"owner": owner, "url": url}).scalar()
    if document:
        return known_release(document)
    known = similar_urls(url, [row.url for row in connection.execute(_USABLE, {"owner": owner}).all()])
    raise NotFound(
        f"No computer is supplied with {url}.",
        f"Did you mean {' or '.join(known)}?" if known else "",
        f"Supply it to a computer first: slapos supply {url} COMPUTER.",
    )


def is_supplied(connection: Connection, guid: str, url: str) -> bool:
    row = connection.execute(_ONE, {"computer": guid, "url": url}).first()
    return row is not None and row.requested == SupplyState.AVAILABLE


_ONE = select(supply).where(supply.c.computer == bindparam("computer"), supply.c.url == bindparam("url"))
_SOMEWHERE = (
    select(1)
    .join_from(supply, computer)
    .where(supply.c.url == release.c.url, supply.c.requested == "available", computer.c.owner == bindparam("owner"))
    .exists()
)
_USABLE = select(release.c.url, release.c.document).where(_SOMEWHERE).order_by(release.c.url)
_USABLE_ONE = select(release.c.document).where(release.c.url == bindparam("url"), _SOMEWHERE)


def _is_visible(caller: Caller) -> Any:
    return computer.c.guid == caller.subject if caller.kind is CallerKind.COMPUTER else computer.c.owner == caller.owner


def _supply(transaction: Transaction, wanted: SupplyRequest, document: SoftwareRelease) -> Supply:
    revision = bump(transaction, wanted.computer)
    _store_release(transaction.connection, document)
    row = _find(transaction.connection, wanted)
    if row is None:
        fresh = {"computer": wanted.computer, "url": wanted.url, "requested": "available"}
        transaction.connection.execute(insert(supply), {**fresh, "revision": revision, "changed_at": now()})
    else:
        _change(transaction.connection, row, wanted.state, revision)
    return _render(_found(transaction.connection, wanted))


def _remove(transaction: Transaction, wanted: SupplyRequest) -> Supply:
    revision = bump(transaction, wanted.computer)
    row = _found(transaction.connection, wanted)
    _check_unused(transaction.connection, wanted)
    _change(transaction.connection, row, wanted.state, revision)
    return _render(_found(transaction.connection, wanted))


def _store_release(connection: Connection, document: SoftwareRelease) -> None:
    words = to_json(document.model_dump())
    stored = connection.execute(select(release.c.document).where(release.c.url == document.url)).scalar()
    if stored is None:
        connection.execute(insert(release), {"url": document.url, "document": words})
    elif stored != words:
        connection.execute(update(release).where(release.c.url == document.url).values(document=words))


def _change(connection: Connection, row: AnyRow, state: SupplyState, revision: int) -> None:
    """Ask again. What was reported of a release that is to come back, or to be tried again, is no longer true."""
    is_gone = state is SupplyState.AVAILABLE and row.reported in ("destroyed", "error")
    changes = {"requested": state, "revision": revision, "changed_at": now()}
    if is_gone:
        changes |= {"reported": "", "message": "", "log": ""}
    connection.execute(
        update(supply).where(supply.c.computer == row.computer, supply.c.url == row.url).values(**changes)
    )


def _check_unused(connection: Connection, wanted: SupplyRequest) -> None:
    users = connection.execute(
        select(instance.c.guid, instance.c.reference).where(
            instance.c.computer == wanted.computer,
            instance.c.release == wanted.url,
            is_living,
        )
    ).all()
    if users:
        raise Conflict(
            f"{wanted.url} is in use on {wanted.computer}.",
            "\n".join(f"{row.reference} ({row.guid})" for row in users),
            "Destroy these instances first, each by: slapos service destroy NAME.",
        )


def _find(connection: Connection, wanted: SupplyRequest) -> AnyRow | None:
    return connection.execute(_ONE, {"computer": wanted.computer, "url": wanted.url}).first()


def _found(connection: Connection, wanted: SupplyRequest) -> AnyRow:
    row = _find(connection, wanted)
    if row:
        return row
    query = select(supply.c.url).where(supply.c.computer == wanted.computer)
    known = connection.execute(query).scalars().all()
    raise NotFound(
        f"{wanted.computer} is not supplied with {wanted.url}.",
        did_you_mean(wanted.url, known),
        "List the supplies that there are: slapos computer info COMPUTER.",
    )


def _render(row: AnyRow) -> Supply:
    return Supply(
        url=row.url,
        computer=row.computer,
        requested=row.requested,
        reported=row.reported,
        is_current=row.reported_revision >= row.revision,
        message=row.message,
        log=row.log,
        changed_at=row.changed_at,
    )
