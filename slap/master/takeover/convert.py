"""What a SlapOS slapproxy had, as rows of our tables: a pure translation, so that it can be looked at before it is stored."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from slap.master.database.incarnation import new_incarnation
from slap.master.database.text import now, to_json
from slap.master.takeover.slapproxy_database import FormerPartition, FormerProxy, FormerShared
from slap.model.computer import ComputerConfiguration, Partition
from slap.model.errors import InvalidInput
from slap.model.instance import InstanceRequest, Sla
from slap.model.serialisation import unwrap
from slap.model.software import DEFAULT_TYPE, SoftwareRelease, normalise_release_url
from slap.model.state import InstanceState

Row = dict[str, Any]

# Its node has not asked for anything yet, so every row is news to it.
_REVISION = 1


@dataclass
class Rows:
    """The rows of each table, in the order in which they can be inserted."""

    computers: list[Row] = field(default_factory=list)
    configurations: list[Row] = field(default_factory=list)
    partitions: list[Row] = field(default_factory=list)
    releases: list[Row] = field(default_factory=list)
    supplies: list[Row] = field(default_factory=list)
    instances: list[Row] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class _Position:
    """Where in a tree an instance is, and how it is asked for."""

    guid: str
    root: str
    parent: str | None
    depth: int


def rows_of(former: FormerProxy, owner: str) -> Rows:
    """Everything, owned by one user. Instances keep the guid that slapproxy made of their computer and partition."""
    rows = Rows()
    for guid in former.computers:
        _add_computer(rows, former, guid, owner)
    _add_supplies(rows, former)
    tree = _Tree(former)
    for each in former.partitions:
        if each.title:
            _add_instance(rows, each, tree, owner)
    for shared in former.shared:
        _add_shared(rows, shared, tree, owner)
    serving = Counter(row["host"] for row in rows.instances)
    rows.instances = [row | {"serving": serving[row["guid"]]} for row in rows.instances]
    return rows


def _add_computer(rows: Rows, former: FormerProxy, guid: str, owner: str) -> None:
    own = [each for each in former.partitions if each.computer == guid]
    configuration = ComputerConfiguration(partitions=tuple(_partition(each) for each in own))
    free = sum(not each.title for each in own)
    row = {"guid": guid, "owner": owner, "title": guid, "free_partitions": free, "revision": _REVISION}
    rows.computers.append({**row, "incarnation": new_incarnation()})
    rows.configurations.append({"computer": guid, "document": to_json(configuration.model_dump())})
    for ordinal, (each, shown) in enumerate(zip(own, configuration.partitions, strict=True)):
        rows.partitions.append(
            {
                "computer": guid,
                "name": each.name,
                "ordinal": ordinal,
                "addresses": to_json([*shown.ipv4, *shown.ipv6]),
                "instance": guid_of(each) if each.title else None,
            }
        )


def _partition(former: FormerPartition) -> Partition:
    return Partition(
        name=former.name,
        ipv4=tuple(address for address in former.addresses if ":" not in address),
        ipv6=tuple(address for address in former.addresses if ":" in address),
    )


def guid_of(former: FormerPartition) -> str:
    """How slapproxy names the instance in a partition to its node."""
    return f"{former.computer}-{former.name}"


def _add_supplies(rows: Rows, former: FormerProxy) -> None:
    """A release that is in use, or was requested without a supply, has to be known too."""
    wanted = {(computer, _url(url)): str(state) for computer, url, state in former.supplies}
    for each in former.partitions:
        if each.title:
            wanted.setdefault((each.computer, _url(each.release)), "available")
    for url in sorted({url for _, url in wanted}):
        rows.releases.append({"url": url, "document": to_json(SoftwareRelease(url=url).model_dump())})
    for (computer, url), state in sorted(wanted.items()):
        row = {"computer": computer, "url": url, "requested": state, "revision": _REVISION, "changed_at": now()}
        rows.supplies.append(row)


def _url(text: str) -> str:
    try:
        return normalise_release_url(text, "/")
    except InvalidInput:
        return text


class _Tree:
    """Who requested whom."""

    def __init__(self, former: FormerProxy) -> None:
        self._by_place = {(each.computer, each.name): each for each in former.partitions if each.title}
        self._roots = {each.title: each for each in self._by_place.values() if not _has_parent(each)}
        self._named: Counter[tuple[str, str]] = Counter()
        self._shared = Counter(each.reference for each in former.shared)

    def position(self, each: FormerPartition) -> _Position:
        chain = list(self._chain(each))
        parent = guid_of(chain[1]) if len(chain) > 1 else None
        return _Position(guid_of(each), guid_of(chain[-1]), parent, len(chain) - 1)

    def below(self, shared: FormerShared, guid: str) -> _Position:
        """Of a shared instance, which has no partition to be known by."""
        parent = self._at(shared.computer, shared.requester)
        if parent is None:
            return _Position(guid, guid, None, 0)
        above = self.position(parent)
        return _Position(guid, above.root, above.guid, above.depth + 1)

    def free_name(self, requester: str, title: str) -> str:
        """The name, or one with a number behind it: slapproxy could lose count under concurrent requests."""
        self._named[requester, title] += 1
        count = self._named[requester, title]
        return title if count == 1 else self.free_name(requester, f"{title} ({count})")

    def shared_guid(self, shared: FormerShared) -> str:
        """The name by which the serving partition knows it, and may keep files of it; unless two computers have the same."""
        is_unique = self._shared[shared.reference] == 1
        return shared.reference if is_unique else f"{shared.computer}-{shared.reference}"

    def host(self, shared: FormerShared) -> FormerPartition | None:
        return self._at(shared.computer, shared.host)

    def _chain(self, each: FormerPartition) -> Iterator[FormerPartition]:
        """An instance, its requester, and so on up to the root."""
        seen: list[FormerPartition] = []
        current: FormerPartition | None = each
        while current and current not in seen:
            yield current
            seen.append(current)
            current = self._parent(current)

    def _parent(self, each: FormerPartition) -> FormerPartition | None:
        direct = self._at(each.computer, each.requester)
        return direct or (self._roots.get(each.root_title) if each.root_title != each.title else None)

    def _at(self, computer: str, name: str) -> FormerPartition | None:
        """Requesters are named without their computer: the one on the same computer is meant, if there is one."""
        found = self._by_place.get((computer, name))
        return found or next((each for (_, other), each in self._by_place.items() if other == name), None)


def _has_parent(each: FormerPartition) -> bool:
    return bool(each.requester or each.root_title)


def _add_instance(rows: Rows, former: FormerPartition, tree: _Tree, owner: str) -> None:
    at = tree.position(former)
    requester = at.parent or f"user:{owner}"
    parameters, form = unwrap(former.parameters)
    order = InstanceRequest.model_construct(
        reference=tree.free_name(requester, former.title),
        software_release=_url(former.release),
        software_type=former.type or DEFAULT_TYPE,
        parameters=parameters,
        serialisation=form,
        state=former.state,
        sla=Sla(),
        shared=False,
    )
    place = {"computer": former.computer, "partition": former.name}
    _add_order(rows, at, order, {**place, "owner": owner, "requester": requester}, former.connection)


def _add_shared(rows: Rows, former: FormerShared, tree: _Tree, owner: str) -> None:
    host = tree.host(former)
    if host is None:
        return
    at = tree.below(former, tree.shared_guid(former))
    requester = at.parent or f"user:{owner}"
    parameters, form = unwrap(former.parameters)
    order = InstanceRequest.model_construct(
        reference=tree.free_name(requester, former.title),
        software_release=_url(host.release),
        software_type=former.type or host.type or DEFAULT_TYPE,
        parameters=parameters,
        serialisation=form,
        state=InstanceState.STARTED,
        sla=Sla(),
        shared=True,
    )
    place = {"computer": host.computer, "partition": host.name, "host": guid_of(host)}
    _add_order(rows, at, order, {**place, "owner": owner, "requester": requester}, former.connection)


def _add_order(rows: Rows, at: _Position, order: InstanceRequest, whose: Row, connection: dict[str, Any]) -> None:
    published, form = unwrap(connection)
    rows.instances.append(
        {
            "host": None,
            "serving": 0,
            **whose,
            "guid": at.guid,
            "root": at.root,
            "parent": at.parent,
            "depth": at.depth,
            "reference": order.reference,
            "release": order.software_release,
            "type": order.software_type,
            "parameters": to_json(order.parameters),
            "serialisation": order.serialisation,
            "sla": to_json(order.sla.model_dump()),
            "wanted": order.state,
            "requested": order.state,
            "connection": to_json(published),
            "published": form,
            "revision": _REVISION,
            "created_at": now(),
            "changed_at": now(),
        }
    )
    entry = {"instance": at.guid, "number": 1, "at": now(), "by": whose["requester"]}
    rows.history.append({**entry, "request": to_json(order.model_dump())})
