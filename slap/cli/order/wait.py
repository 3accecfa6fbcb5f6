"""Decisions about waiting, without any waiting: what a tree looks like, what is news in it, and whether it is over."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from slap.model.errors import BuildFailed, SlapError
from slap.model.instance import Instance, InstanceTree
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState, Status


class Mark(StrEnum):
    """How a line of the progress display is meant."""

    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"


SIGNS = {Mark.WAITING: "·", Mark.WORKING: "…", Mark.DONE: "✓", Mark.FAILED: "✗"}


@dataclass(frozen=True)
class Line:
    """What is to be said of one instance of a tree; `depth` is 0 for the root."""

    guid: str
    depth: int
    name: str
    mark: Mark
    text: str


@dataclass(frozen=True)
class Order:
    """A request that the master accepted; `changed` is false for one that asked for what had been asked before."""

    accepted: Instance
    changed: bool
    is_new: bool = False


def make_order(before: Instance | None, accepted: Instance) -> Order:
    """The order that turned `before` into `accepted`."""
    is_new = before is None or before.guid != accepted.guid
    changed = is_new or before is None or _asked(before) != _asked(accepted)
    return Order(accepted, changed, is_new)


def unbuildable(tree: InstanceTree) -> Instance | None:
    """An instance whose software failed to build; a release that is supplied anew has not failed any more."""
    return next((one for one in tree.instances if _cannot_be_built(one)), None)


def failed(tree: InstanceTree) -> Instance | None:
    """An instance that failed; an error from before the last order is none: the order may well mend it."""
    return next((one for one in tree.instances if one.status is Status.ERROR), None)


def broken_release(instance: Instance, log: str = "") -> BuildFailed:
    return BuildFailed(
        f"{instance.software_release} could not be built on {instance.computer}.",
        f"{instance.software_message}\n{log}".strip(),
        f"mend the release, then: slapos supply {instance.software_release} {instance.computer} --wait",
    )


def failed_instance(instance: Instance, root: Instance) -> SlapError:
    is_root = instance.guid == root.guid
    return SlapError(
        f"{instance.reference if is_root else f'{instance.reference} (of {root.reference})'} failed"
        f" on {instance.computer}, in {instance.partition}.",
        _reason(instance),
        f"slapos service logs {instance.reference if is_root else instance.guid}",
    )


def describe(tree: InstanceTree) -> tuple[Line, ...]:
    """One line for each instance of a tree, parents before children."""
    depths: dict[str, int] = {}
    lines = []
    for instance in tree.instances:
        depths[instance.guid] = depths.get(instance.requester, -1) + 1
        mark, text = phase(instance)
        name = f"{instance.reference} (shared)" if instance.shared else instance.reference
        lines.append(Line(instance.guid, depths[instance.guid], name, mark, text))
    return tuple(lines)


def news(before: Sequence[Line], now: Sequence[Line]) -> Iterator[Line]:
    """The lines that are new, or that say something else than before."""
    said = {line.guid: (line.mark, line.text) for line in before}
    return (line for line in now if said.get(line.guid) != (line.mark, line.text))


def phase(instance: Instance) -> tuple[Mark, str]:
    """Where an instance is on its way, in words."""
    place = f"{instance.computer}/{instance.partition}"
    if _cannot_be_built(instance):
        return Mark.FAILED, f"its software could not be built: {_first_line(instance.software_message)}"
    if _is_being_built(instance):
        return Mark.WORKING, _with("building its software", instance.software_message)
    if not instance.is_current and instance.status is not Status.WAITING:
        return Mark.WAITING, f"waiting for {place} to take the change up"
    return _reported_phase(instance, place)


def summary(instance: Instance) -> str:
    """What a list has to say of an instance beyond its status: nothing when it is as requested."""
    return "" if instance.status.is_settled else phase(instance)[1]


def access_status(instance: Instance) -> str:
    """What SlapOS calls the access status: `#access` or `#error`, and what there is to say."""
    return f"{'#error' if instance.status is Status.ERROR else '#access'} {phase(instance)[1]}"


def _reported_phase(instance: Instance, place: str) -> tuple[Mark, str]:
    if instance.status is Status.ERROR:
        return Mark.FAILED, _first_line(_reason(instance))
    if instance.status is Status.UNKNOWN:
        return Mark.WAITING, f"requested {instance.requested} on {place}; its master does not tell whether it is"
    if instance.status.is_settled:
        return Mark.DONE, f"{instance.status} on {place}"
    if instance.status is Status.WAITING:
        return Mark.WAITING, f"placed on {place}, waiting for the node"
    if instance.reported is ReportedInstanceState.INSTANTIATING:
        return Mark.WORKING, _with("instantiating", _reason(instance))
    return Mark.WORKING, _with(str(instance.status), instance.message)


def _asked(instance: Instance) -> tuple[object, ...]:
    """What a node acts upon."""
    return instance.software_release, instance.software_type, instance.parameters, instance.requested


def _is_to_be_built(instance: Instance) -> bool:
    """Its software stands between it and its start; an instance that is to go, or that runs already, needs no build."""
    return instance.requested is InstanceState.STARTED and instance.reported is not ReportedInstanceState.STARTED


def _cannot_be_built(instance: Instance) -> bool:
    return _is_to_be_built(instance) and instance.software is ReportedSupplyState.ERROR


def _is_being_built(instance: Instance) -> bool:
    return _is_to_be_built(instance) and instance.software is ReportedSupplyState.BUILDING


def _reason(instance: Instance) -> str:
    """The node's own words, which name the promises that fail; else those of the promises."""
    failing = (f"Promise {promise.name}: {promise.message}" for promise in instance.promises if not promise.passed)
    return instance.message or "\n".join(failing)


def _with(phase_name: str, message: str) -> str:
    return f"{phase_name}: {_first_line(message)}" if message.strip() else phase_name


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason was given")
