"""Finding what HATEOAS is asked for, within the sight of the caller."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy import Connection

from slap.master import computer
from slap.master.access.auth import CallerKind
from slap.master.api.call import Call
from slap.master.database.tables import AnyRow
from slap.master.hateoas import document as documents
from slap.master.hateoas.document import Document, Row
from slap.master.hateoas.query import Kind, Query
from slap.master.service import supply
from slap.master.service.tree import InstanceName, instances_on
from slap.master.slapos.status_text import News, status_news
from slap.master.slapos.string_parameters import worded
from slap.model.computer import Computer
from slap.model.errors import InvalidInput, NotFound
from slap.model.instance import InstanceTree
from slap.model.state import InstanceState, ReportedInstanceState, Status, derive_status


async def search(call: Call, query: Query) -> list[Row]:
    """The rows that a query finds; none when what it names is not there."""
    return await _SEARCHES[query.kind](call, query.filters)


async def document(call: Call, name: str) -> Document:
    """The document of a relative URL, MODULE/GUID, as searches give them; raises NotFound."""
    module, _, guid = name.partition("/")
    reader = _DOCUMENTS.get(module)
    if reader is None:
        raise _no_document(name)
    return await reader(call, guid)


async def _trees(call: Call, filters: dict[str, str]) -> list[Row]:
    return [documents.tree_row(root) for root in await _roots(call, filters.get("title"))]


async def _roots(call: Call, title: str | None) -> list[InstanceName]:
    # No name at all means all of them; a name that is empty is nobody's.
    names = [] if title == "" else await call.services.orders.names(call.caller)
    return [each for each in names if title in (None, each.reference)]


async def _computers(call: Call, filters: dict[str, str]) -> list[Row]:
    found = await _named(call, filters) if filters else await computer.listing(call.store, call.caller)
    return [documents.computer_row(each) for each in found]


async def _named(call: Call, filters: dict[str, str]) -> list[Computer]:
    title, reference = filters.get("title"), filters.get("reference")
    try:
        found = await computer.show(call.store, call.caller, reference or title or "")
    except NotFound:
        return []
    return [found] if title in (None, found.title) and reference in (None, found.guid) else []


async def _instances(call: Call, filters: dict[str, str]) -> list[Row]:
    title = filters.get("default_specialise_title")
    if not title:
        raise InvalidInput("The instances of which tree?", "", 'Add: AND default_specialise_title:="NAME".')
    trees = [await _tree(call, root.guid) for root in await _roots(call, title)]
    return [documents.instance_row(each) for found in trees for each in found.instances]


async def _supplies(call: Call, filters: dict[str, str]) -> list[Row]:
    guid = filters.get("default_aggregate_reference", "")
    try:
        found = await supply.listing(call.store, call.caller, guid, "")
    except NotFound:
        return []
    return [documents.supply_row(each) for each in found]


async def _tree(call: Call, guid: str) -> InstanceTree:
    found = await call.services.orders.tree(call.caller, guid)
    root, *instances = await call.store.read_much(lambda c: worded(c, [found.root, *found.instances]))
    return InstanceTree(root=root, instances=tuple(instances), revision=found.revision)


async def _tree_document(call: Call, guid: str) -> Document:
    return documents.tree_document(await _tree(call, guid))


async def _instance_document(call: Call, guid: str) -> Document:
    found = await call.services.orders.show(call.caller, guid)
    (one,) = await call.store.read(lambda connection: worded(connection, [found]))
    return documents.instance_document(one)


async def _computer_document(call: Call, guid: str) -> Document:
    found = await computer.show(call.store, call.caller, guid)
    partitions = await call.store.read_much(lambda connection: _partition_news(connection, found.guid))
    return documents.computer_document(found, partitions)


def _partition_news(connection: Connection, guid: str) -> dict[str, News]:
    rows = instances_on(connection, guid)
    return {row.partition: status_news(_status(row), row.message, row.guid, _moment(row.changed_at)) for row in rows}


def _status(row: AnyRow) -> Status:
    requested, reported = InstanceState(row.requested), ReportedInstanceState(row.reported)
    return derive_status(requested, reported, row.reported_revision >= row.revision)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def _person_document(call: Call, name: str) -> Document:
    if call.caller.kind is not CallerKind.USER or call.caller.subject != name:
        raise _no_document(f"{documents.PERSONS}/{name}")
    return documents.person_document(name)


def _no_document(name: str) -> NotFound:
    return NotFound(f"There is no document {name[:200]}.", "", "Take the relative_url that a search gives.")


_SEARCHES: dict[Kind, Callable[[Call, dict[str, str]], Awaitable[list[Row]]]] = {
    Kind.TREE: _trees,
    Kind.COMPUTER: _computers,
    Kind.INSTANCE: _instances,
    Kind.SUPPLY: _supplies,
}
_DOCUMENTS: dict[str, Callable[[Call, str], Awaitable[Document]]] = {
    documents.TREES: _tree_document,
    documents.INSTANCES: _instance_document,
    documents.COMPUTERS: _computer_document,
    documents.PERSONS: _person_document,
}
