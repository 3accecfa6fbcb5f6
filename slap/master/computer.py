"""Computers: registered, configured by their nodes, seen."""

import asyncio
import secrets
import time
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update

from slap.master.access.auth import Caller, CallerKind, issue_token
from slap.master.access.revocation import admit_computer, revoke_computer
from slap.master.database import tables
from slap.master.database.hub import computer_topic
from slap.master.database.incarnation import NEXT_REVISION, current_incarnation
from slap.master.database.quota import Quota
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import AnyRow, computer, instance, is_living, partition
from slap.master.database.text import did_you_mean, from_json, now, to_json
from slap.model.computer import (
    Computer,
    ComputerConfiguration,
    ComputerRegistration,
    Partition,
    PartitionUse,
    RegisteredComputer,
)
from slap.model.errors import Conflict, InvalidInput, NotFound, SlapError

# A node that asks often is marked as seen this often.
_SEEN_EVERY = 10.0
_SEEN_WRITE_SECONDS = 0.5  # between two writes of all who were seen meanwhile
_MAX_SEEN_AT_ONCE = 1000
# So many computers are simply named to somebody who asks for another one.
_FEW = 5


async def register(store: Store, caller: Caller, registration: ComputerRegistration) -> RegisteredComputer:
    """A new computer, or a new token for one that is to be replaced."""
    caller.must_be(CallerKind.USER)
    return await store.write(lambda transaction: register_in(transaction, caller, registration))


async def new_token(store: Store, caller: Caller, guid: str) -> RegisteredComputer:
    """A new token for a computer; the ones before it stop working."""
    caller.must_be(CallerKind.USER)

    def job(transaction: Transaction) -> RegisteredComputer:
        row = find(transaction.connection, caller, guid)
        return _rotate_token(transaction, caller, row)

    return await store.write(job)


async def listing(store: Store, caller: Caller) -> list[Computer]:
    caller.must_be(CallerKind.USER, CallerKind.COMPUTER)
    query = _visible(caller).add_columns(tables.configuration.c.document).join(tables.configuration)
    rows = await store.read_much(lambda connection: connection.execute(query).all())
    return [_render(row, row.document) for row in rows]


async def show(store: Store, caller: Caller, guid: str) -> Computer:
    """A computer with all its partitions and what is in them."""
    return await store.read_much(lambda connection: _show(connection, caller, guid))


async def configure(store: Store, caller: Caller, guid: str, configuration: ComputerConfiguration) -> Computer:
    """Take over what a node formatted. Repeating it changes nothing."""
    _check_names(configuration)
    words = to_json(configuration.model_dump())

    def is_known(connection: Connection) -> bool:
        return _document(connection, find(connection, caller, guid).guid) == words

    if not await store.read_much(is_known):
        await store.write(
            lambda transaction: _configure(transaction, find(transaction.connection, caller, guid), configuration)
        )
    return await show(store, caller, guid)


async def known_or_new(store: Store, caller: Caller, guid: str) -> Computer:
    """The computer of this guid; one that is unknown becomes that of the user who calls."""
    try:
        return await show(store, caller, guid)
    except NotFound:
        if caller.kind is not CallerKind.USER:
            raise
    await register(store, caller, ComputerRegistration(title=guid, guid=guid))
    return await show(store, caller, guid)


def _document(connection: Connection, guid: str) -> str:
    query = select(tables.configuration.c.document).where(tables.configuration.c.computer == guid)
    return str(connection.execute(query).scalar_one())


async def bang(store: Store, caller: Caller, guid: str) -> None:
    """Have all partitions of a computer processed again."""

    def job(transaction: Transaction) -> None:
        row = find(transaction.connection, caller, guid)
        living = (instance.c.computer == row.guid, is_living)
        revision = bump(transaction, row.guid)
        transaction.connection.execute(
            update(instance).where(*living).values(bang=instance.c.bang + 1, revision=revision)
        )

    await store.write(job)


class Attendance:
    """Marks computers as seen: each seldom, and many in one transaction that nobody waits for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._marked: dict[str, float] = {}
        self._unwritten: set[str] = set()
        self._writing: asyncio.Task[None] | None = None

    def mark(self, guid: str) -> None:
        if time.monotonic() - self._marked.get(guid, -_SEEN_EVERY) < _SEEN_EVERY:
            return
        self._marked[guid] = time.monotonic()
        self._unwritten.add(guid)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._unwritten:
                await asyncio.sleep(_SEEN_WRITE_SECONDS)
                guids = sorted(self._unwritten)[:_MAX_SEEN_AT_ONCE]
                self._unwritten.difference_update(guids)
                with suppress(SlapError):  # of a database that fails now: who asks is told by the request itself
                    await self._store.write(partial(_mark_seen, guids))
        finally:
            self._writing = None


def _mark_seen(guids: list[str], transaction: Transaction) -> None:
    # A row that somebody changes just now is skipped, so that no two transactions wait for each other.
    free = select(computer.c.guid).where(computer.c.guid.in_(guids)).with_for_update(skip_locked=True)
    transaction.connection.execute(update(computer).where(computer.c.guid.in_(free)).values(seen_at=now()))


def find(connection: Connection, caller: Caller, name: str) -> AnyRow:
    """The computer of this guid or title, if the caller may see it; raises NotFound with what looks like it."""
    caller.must_be(CallerKind.USER, CallerKind.COMPUTER)
    rows = connection.execute(_visible(caller).where(or_(computer.c.guid == name, computer.c.title == name))).all()
    if rows:
        return min(rows, key=lambda row: row.guid != name)
    raise no_computer(connection, caller.owner, name)


def no_computer(connection: Connection, owner: str, name: str) -> NotFound:
    known = connection.execute(select(computer.c.guid, computer.c.title).where(computer.c.owner == owner)).all()
    few = f"There is: {', '.join(f'{row.title} ({row.guid})' for row in known)}." if 0 < len(known) <= _FEW else ""
    return NotFound(
        f"There is no computer {name}.",
        did_you_mean(name, {word for row in known for word in row}) or few,
        "List the computers that there are: slapos computer list.",
    )


def bump(transaction: Transaction, guid: str, freed: int = 0) -> int:
    """The next revision of a computer, of which its node is told."""
    transaction.wake(computer_topic(guid))
    return int(transaction.connection.execute(_BUMP, {"computer": guid, "freed": freed}).scalar_one())


_BUMP = (
    update(computer)
    .where(computer.c.guid == bindparam("computer"))
    .values(free_partitions=computer.c.free_partitions + bindparam("freed"), **NEXT_REVISION)
    .returning(computer.c.revision)
)


def _visible(caller: Caller) -> Any:
    mine = computer.c.guid == caller.subject if caller.kind is CallerKind.COMPUTER else computer.c.owner == caller.owner
    return select(computer).where(mine).order_by(computer.c.title)


def register_in(transaction: Transaction, caller: Caller, wanted: ComputerRegistration) -> RegisteredComputer:
    """Register in a transaction that is under way."""
    same_name = (computer.c.owner == caller.owner) & (computer.c.title == wanted.title)
    same = select(computer.c.guid, computer.c.title, computer.c.owner).where(
        or_(same_name, computer.c.guid == wanted.guid)
    )
    for row in transaction.connection.execute(same).all():
        _check_replacement(row, caller, wanted)
        return _rotate_token(transaction, caller, row)
    transaction.quotas.take(transaction.connection, Quota.COMPUTERS, caller.owner)
    return _add(transaction.connection, caller, wanted)


def _check_replacement(row: AnyRow, caller: Caller, wanted: ComputerRegistration) -> None:
    is_same = row.owner == caller.owner and row.title == wanted.title and wanted.guid in ("", row.guid)
    if wanted.replace and is_same:
        return
    taken = f"{row.title} ({row.guid})" if row.owner == caller.owner else wanted.guid
    raise Conflict(
        f"There is a computer {taken} already.",
        "Two nodes with one name would take each other's instances.",
        "Use another name; or, if the former node is lost: slapos node register --replace.",
    )


def _add(connection: Connection, caller: Caller, wanted: ComputerRegistration) -> RegisteredComputer:
    guid = wanted.guid or f"COMP-{secrets.token_hex(8)}"
    empty = to_json(ComputerConfiguration(partitions=()).model_dump())
    added = insert(computer).values(incarnation=current_incarnation())
    connection.execute(added, {"guid": guid, "owner": caller.owner, "title": wanted.title})
    connection.execute(insert(tables.configuration), {"computer": guid, "document": empty})
    issued = issue_token(connection, CallerKind.COMPUTER, guid, caller.credential)
    return RegisteredComputer(guid=guid, title=wanted.title, token=issued)


def _rotate_token(transaction: Transaction, caller: Caller, row: AnyRow) -> RegisteredComputer:
    revoke_computer(transaction, row.guid)
    admit_computer(transaction.connection, row.guid)
    issued = issue_token(transaction.connection, CallerKind.COMPUTER, row.guid, caller.credential)
    return RegisteredComputer(guid=row.guid, title=row.title, token=issued)


def _check_names(configuration: ComputerConfiguration) -> None:
    names = [each.name for each in configuration.partitions]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InvalidInput("Partitions must have different names.", f"Named twice: {', '.join(twice)}.")


def _configure(transaction: Transaction, row: AnyRow, configuration: ComputerConfiguration) -> None:
    connection = transaction.connection
    _replace_partitions(connection, row, configuration.partitions)
    document = {"document": to_json(configuration.model_dump())}
    connection.execute(update(tables.configuration).where(tables.configuration.c.computer == row.guid).values(document))
    free = select(func.count()).where(partition.c.computer == row.guid, partition.c.instance.is_(None))
    connection.execute(
        update(computer)
        .where(computer.c.guid == row.guid)
        .values(
            network=configuration.network,
            labels=to_json(configuration.labels),
            capabilities=to_json(configuration.capabilities),
            free_partitions=free.scalar_subquery(),
        )
    )


def _replace_partitions(connection: Connection, row: AnyRow, wanted: tuple[Partition, ...]) -> None:
    """The partitions become those that are wanted; what is in them stays."""
    # The computer's row is locked first, as an order does that takes a partition of it.
    connection.execute(update(computer).where(computer.c.guid == row.guid).values(revision=computer.c.revision))
    used = dict(
        connection.execute(select(partition.c.name, partition.c.instance).where(partition.c.computer == row.guid)).all()
    )
    lost = {name: guid for name, guid in used.items() if guid and name not in {each.name for each in wanted}}
    if lost:
        raise Conflict(
            f"{len(lost)} partitions of {row.title} that are in use would be lost.",
            "\n".join(f"{name}: {guid}" for name, guid in sorted(lost.items())),
            "Destroy these instances first, or keep the partitions.",
        )
    connection.execute(delete(partition).where(partition.c.computer == row.guid))
    rows = [
        {
            "computer": row.guid,
            "name": each.name,
            "ordinal": ordinal,
            "addresses": to_json([*each.ipv4, *each.ipv6]),
            "tap": each.tap,
            "route": to_json(each.route) if each.route else "",
            "instance": used.get(each.name),
        }
        for ordinal, each in enumerate(wanted)
    ]
    if rows:
        connection.execute(insert(partition), rows)


def _show(connection: Connection, caller: Caller, guid: str) -> Computer:
    row = find(connection, caller, guid)
    uses = (
        select(partition.c.name, instance.c.guid, instance.c.reference)
        .join_from(partition, instance, instance.c.guid == partition.c.instance)
        .where(partition.c.computer == row.guid)
    )
    used = {name: (guid, reference) for name, guid, reference in connection.execute(uses).all()}
    shown = _render(row, _document(connection, row.guid))
    partitions = tuple(
        PartitionUse(
            partition=each, instance=used.get(each.name, ("", ""))[0], reference=used.get(each.name, ("", ""))[1]
        )
        for each in shown.configuration.partitions
    )
    return shown.model_copy(update={"partitions": partitions})


def _render(row: AnyRow, document: str) -> Computer:
    return Computer(
        guid=row.guid,
        title=row.title,
        configuration=from_json(document),
        free_partitions=row.free_partitions,
        seen_at=row.seen_at,
    )
