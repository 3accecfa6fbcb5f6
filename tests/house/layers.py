"""Who may import whom: the plan of the house, and the pure checks of it."""

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from tests.house.figures import imported
from tests.house.sources import Source

ROOMS = {
    "model": set(),
    "system": {"model"},
    "client": {"model", "system"},
    "cache": {"model", "system"},
    "mesh": {"model", "system"},
    "recipes": {"model", "system", "client"},
    "node": {"model", "system", "client", "cache"},
    "master": {"model", "system"},
    "runner": {"model", "system", "client"},
    "cli": {"model", "system", "client", "cache", "mesh", "node", "master", "runner"},
}

# Tools of the outside world, and the rooms whose business they are.
TOOLS = {
    "libvirt": {"system"},
    "pyroute2": {"system"},
    "ansible_runner": {"system"},
    "supervisor": {"system"},
    "requests": {"system"},
    "subprocess": {"system"},
    "zc.buildout": {"recipes", "node"},
}

# The folders and files of two rooms, the lowest first: each imports only those before it.
ORDERS = {
    "node": (
        "core", "identity", "buildout", "cache", "promise", "usage", "software", "partition", "image", "limits", "vm",
        "manager", "format", "node", "agent", "passes",
    ),
    "master": (
        "database", "schema", "access", "computer", "placement", "release", "service", "multimaster", "api", "slapos",
        "slaptool", "hateoas", "jsonrpc", "app", "settings", "settings_slapproxy", "tls", "takeover", "proxy", "server",
    ),
}  # fmt: skip

# The protocols of SlapOS in slap/master, and the one unit that installs them.
SLAPOS_PROTOCOLS = {"slapos", "slaptool", "hateoas", "jsonrpc"}
SLAPOS_INSTALLER = "app"

# Units of slap/master that ask services, and the modules of them that still have queries of their own: none comes to them.
PROTOCOLS = SLAPOS_PROTOCOLS | {"api", "multimaster", "app"}
QUERIES_OUTSIDE_SERVICES = {
    "slap.master.jsonrpc.document",
    "slap.master.multimaster.requests",
    "slap.master.slapos.served_revision",
    "slap.master.slaptool.queries",
}
_STATEMENTS = {f"sqlalchemy.{name}" for name in ("select", "insert", "update", "delete", "text")}

# What slap/node has for SlapOS's sake only, and the one place where each is plugged in; SlapOS's operators trigger passes
# by files, so those have two.
SLAPOS_IMPORTERS = {
    "slap.node.buildout.slapos_dialect": {"slap.node.buildout.run"},
    "slap.node.core.slapos_config": {"slap.node.core.config"},
    "slap.node.format.slapos_memory": {"slap.node.format.definition"},
    "slap.node.partition.slapos_files": {"slap.node.partition.steps", "slap.node.passes"},
    "slap.node.partition.slapos_links": {"slap.node.partition.supervision"},
}

Graph = dict[str, set[str]]


def forbidden_imports(source: Source) -> list[str]:
    """What a source imports against the plan."""
    return [f"{source.name} imports {name}" for name in sorted(imported(source)) if not _may_import(source, name)]


def cycle(sources: Iterable[Source]) -> list[str]:
    """The modules of one import cycle, or nothing."""
    by_module = {source.module: source for source in sources}
    graph = {module: _targets(source, set(by_module)) for module, source in by_module.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def unit_imports(sources: Iterable[Source], room: str) -> Graph:
    """For each unit of a room (a folder or file directly below slap/ROOM), the other units that it imports."""
    own = [source for source in sources if source.room == room]
    modules = {source.module for source in own}
    graph: Graph = {_unit(source.module): set() for source in own}
    for source in own:
        graph[_unit(source.module)] |= {_unit(target) for target in _targets(source, modules)} - {_unit(source.module)}
    graph.pop("", None)
    return {unit: targets - {""} for unit, targets in graph.items()}


def unit_cycles(graph: Graph) -> set[frozenset[str]]:
    """The groups of units that import each other, directly or through others."""
    reached = {unit: _reachable(graph, unit) for unit in graph}
    mutual = (frozenset(other for other in reached[unit] if unit in reached[other]) for unit in graph)
    return {group for group in mutual if group}


def slapos_importers(sources: Iterable[Source]) -> Graph:
    """For each module named slapos_*, the modules that import it."""
    own = list(sources)
    wing = {source.module for source in own if source.name.rpartition("/")[2].startswith("slapos_")}
    return {module: {source.module for source in own if module in _targets(source, wing)} for module in wing}


def modules_with_queries(sources: Iterable[Source], room: str, units: set[str]) -> set[str]:
    """The modules in some units of a room that make SQL statements."""
    inside = (source for source in sources if source.room == room and _unit(source.module) in units)
    return {source.module for source in inside if imported(source) & _STATEMENTS}


def backward_imports(graph: Graph, order: Sequence[str]) -> list[str]:
    """The imports of a unit that does not come earlier in `order`, and the units that `order` does not name."""
    place = {unit: number for number, unit in enumerate(order)}
    unplaced = [f"{unit} has no place in the order" for unit in sorted(set(graph) - set(place))]
    arrows = [(unit, target) for unit, targets in graph.items() for target in targets if {unit, target} <= set(place)]
    return unplaced + [f"{unit} imports {target}" for unit, target in sorted(arrows) if place[target] >= place[unit]]


def _reachable(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting.extend(new)
    return found


def _unit(module: str) -> str:
    return [*module.split("."), "", ""][2]


def _may_import(source: Source, name: str) -> bool:
    if name.startswith("."):
        return False  # a relative import hides which room it reaches into
    if name.split(".")[0] == "slap":
        return _may_enter(source, name)
    owners = [rooms for tool, rooms in TOOLS.items() if f"{name}.".startswith(f"{tool}.")]
    return not source.name.startswith("slap/") or all(source.room in rooms for rooms in owners)


def _may_enter(source: Source, name: str) -> bool:
    """Software packages and playbooks know nothing of slap; its rooms know what the plan says."""
    room = [*name.split("."), ""][1]
    return bool(source.room) and room in ROOMS.get(source.room, set()) | {source.room}


def _targets(source: Source, modules: set[str]) -> set[str]:
    """The modules that a source imports: `from a import b` means a.b where that is a module, and a otherwise."""
    wanted = (name if name in modules else name.rpartition(".")[0] for name in imported(source))
    return (set(wanted) & modules) - {source.module}
