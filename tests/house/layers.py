"""Who may import whom: the plan of the house, and the pure checks of it."""

from collections.abc import Iterable
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
