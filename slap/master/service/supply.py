"""Supplies: which computer shall have which software release."""

from collections.abc import AsyncIterator, Collection
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from slap.master.access.auth import Caller, CallerKind
from slap.master.computer import bump, find
from slap.master.database.quota import Quota
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, computer, instance, is_living, release, release_schema, supply
from slap.master.database.text import did_you_mean, from_json, now, similar_urls, to_json
from slap.master.release.read import ReadRelease, SchemaRole
from slap.master.release.reader import ReleaseReading
from slap.master.schema.parameters import KnownRelease, key_of_type, known_release
from slap.model.errors import Conflict, NotFound
from slap.model.instance import InstanceRequest
from slap.model.software import SoftwareRelease, Supply, SupplyRequest, normalise_release_url
from slap.model.state import SupplyState

_LISTED_LOG_LENGTH = 2000
_RELEASES = select(release.c.url, release.c.document).where(release.c.url.in_(bindparam("urls", expanding=True)))


async def request_supply(store: Store, caller: Caller, wanted: SupplyRequest, read_release: ReleaseReading) -> Supply:
    """Supply a release to a computer, or remove it. Supplying again has the node look again."""
    wanted = wanted.model_copy(update={"url": normalise_release_url(wanted.url, "/")})
    row = await store.read(lambda connection: find(connection, caller, wanted.computer))
    wanted = wanted.model_copy(update={"computer": row.guid})
    if wanted.state is SupplyState.DESTROYED:
        return await store.write(lambda transaction: _remove(transaction, wanted))
    # Read before the transaction begins: a slow server of releases must not hold up the master.
    read = await read_release(wanted.url)
    return await store.write(lambda transaction: _supply(transaction, wanted, read))


async def listing(store: Store, caller: Caller, guid: str, url: str) -> list[Supply]:
    """The supplies that the caller may see; those that are gone only when they are asked for by their URL, and the logs
    of the others without their beginnings."""
    caller.must_be(CallerKind.USER, CallerKind.COMPUTER)
    columns = [column for column in supply.c if column is not supply.c.log]
    log = supply.c.log if url else func.substr(supply.c.log, func.length(supply.c.log) - _LISTED_LOG_LENGTH + 1)
    query = select(*columns, log.label("log")).join(computer).where(_is_visible(caller))
    query = query.order_by(supply.c.url, supply.c.computer)
    if url:
        query = query.where(supply.c.url == normalise_release_url(url, "/"))
    else:
        query = query.where((supply.c.requested != "destroyed") | (supply.c.reported != "destroyed"))
    if guid:
        found = await store.read(lambda connection: find(connection, caller, guid))
        query = query.where(supply.c.computer == found.guid)
    return await store.read_much(lambda connection: [_render(row) for row in connection.execute(query)])


async def releases(store: Store, caller: Caller) -> list[SoftwareRelease]:
    """The releases that are supplied somewhere where the caller may use them, without their schemas."""
    rows = await store.read_much(lambda connection: connection.execute(_USABLE, {"owner": caller.owner}).all())
    return [known_release(row.document).release for row in rows]


async def release_documents(store: Store, caller: Caller) -> AsyncIterator[bytes]:
    """The same with their schemas, as a list in JSON, of which no more than one is in memory."""
    which = {"owner": caller.owner}
    urls = await store.read_much(lambda connection: connection.execute(_USABLE_URLS, which).scalars().all())
    before = b"["
    for url in urls:
        document = await store.read_much(partial(_whole_document, url=url))
        if document:
            yield before + document
            before = b","
    yield b"[]" if before == b"[" else b"]"


def _whole_document(connection: Connection, url: str) -> bytes:
    """Empty for a release that is gone. Schemas are not parsed."""
    text = connection.execute(_DOCUMENT, {"url": url}).scalar()
    if text is None:
        return b""
    document = from_json(text)
    for row in connection.execute(_SCHEMAS, {"url": url}):
        document["types"][row.type][f"{row.role}_schema"] = orjson.Fragment(row.schema)
    return orjson.dumps(document)


def usable_release(connection: Connection, owner: str, order: InstanceRequest) -> KnownRelease:
    """The release of an order, which is supplied to a computer of this owner, with the schema of the ordered type.

    Raises NotFound with what looks like it.
    """
    url, key = order.software_release, order.software_type
    row = connection.execute(_USABLE_ONE, {"owner": owner, "url": url, "type": key}).first()
    if row:
        described = key_of_type(known_release(row.document).release, key, order.shared)
        schema = row.schema if described == key else ""
        if described and described != key:
            schema = connection.execute(_SCHEMA, {"url": url, "type": described}).scalar()
        return known_release(row.document, described, schema or "")
    known = similar_urls(url, list(connection.execute(_USABLE_URLS, {"owner": owner}).scalars()))
    raise NotFound(
        f"No computer is supplied with {url}.",
        f"Did you mean {' or '.join(known)}?" if known else "",
        f"Supply it to a computer first: slapos supply {url} COMPUTER.",
    )


def releases_of(connection: Connection, urls: Collection[str]) -> dict[str, SoftwareRelease]:
    """Releases by their URLs, in one look-up."""
    rows = connection.execute(_RELEASES, {"urls": sorted(urls)}).all() if urls else ()
    return {row.url: known_release(row.document).release for row in rows}


def is_supplied(connection: Connection, guid: str, url: str) -> bool:
    row = connection.execute(_ONE, {"computer": guid, "url": url}).first()
    return row is not None and row.requested == SupplyState.AVAILABLE


_OWNER = select(computer.c.owner).where(computer.c.guid == bindparam("computer"))
_ONE = select(supply).where(supply.c.computer == bindparam("computer"), supply.c.url == bindparam("url"))
_SOMEWHERE = (
    select(1)
    .join_from(supply, computer)
    .where(supply.c.url == release.c.url, supply.c.requested == "available", computer.c.owner == bindparam("owner"))
    .exists()
)
_USABLE = select(release.c.url, release.c.document).where(_SOMEWHERE).order_by(release.c.url)
_USABLE_URLS = select(release.c.url).where(_SOMEWHERE).order_by(release.c.url)
_DOCUMENT = select(release.c.document).where(release.c.url == bindparam("url"))
_SCHEMAS = select(release_schema).where(release_schema.c.url == bindparam("url"))
_SCHEMA = select(release_schema.c.schema).where(
    release_schema.c.url == bindparam("url"),
    release_schema.c.type == bindparam("type"),
    release_schema.c.role == SchemaRole.PARAMETERS,
)
# Most requests name a type as it is described: its schema comes with the release.
_USABLE_ONE = select(release.c.document, _SCHEMA.scalar_subquery().label("schema")).where(
    release.c.url == bindparam("url"), _SOMEWHERE
)


def _is_visible(caller: Caller) -> Any:
    return computer.c.guid == caller.subject if caller.kind is CallerKind.COMPUTER else computer.c.owner == caller.owner


def _supply(transaction: Transaction, wanted: SupplyRequest, read: ReadRelease) -> Supply:
    revision = bump(transaction, wanted.computer)
    _store_release(transaction.connection, read)
    row = _find(transaction.connection, wanted)
    if row is None:
        owner = transaction.connection.execute(_OWNER, {"computer": wanted.computer}).scalar_one()
        transaction.quotas.take(transaction.connection, Quota.SUPPLIES, owner)
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


def _store_release(connection: Connection, read: ReadRelease) -> None:
    url = read.release.url
    words = to_json(read.release.model_dump())
    stored = connection.execute(_DOCUMENT, {"url": url}).scalar()
    if stored is None:
        connection.execute(insert(release), {"url": url, "document": words})
    elif stored != words:
        connection.execute(update(release).where(release.c.url == url).values(document=words))
    schemas = {(row.type, row.role): row.schema for row in connection.execute(_SCHEMAS, {"url": url})}
    if schemas != read.schemas:
        connection.execute(delete(release_schema).where(release_schema.c.url == url))
        rows = [{"url": url, "type": key, "role": role, "schema": text} for (key, role), text in read.schemas.items()]
        if rows:
            connection.execute(insert(release_schema), rows)


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
